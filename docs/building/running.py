"""What the code on a page prints, and the pages on which a network is walked through."""

import contextlib
import io
import os
import re
import tempfile
import warnings
from pathlib import Path

from blockprop.learning import stepper
from blockprop.networks import lecture, lecture_example

CODE = re.compile(r"```python\n(.*?)```\n", re.DOTALL)
STEPPER = re.compile(r"^<!-- stepper: (\w+) -->$", re.MULTILINE)


def with_output(text: str, page: str) -> str:
    """A page with what its Python code prints below each piece, which is run in the order in which it stands.

    Warnings are errors, as in tests/test_docs.py.
    """
    names: dict[str, object] = {}

    def ran(code: re.Match[str]) -> str:
        printed = io.StringIO()
        with warnings.catch_warnings(), contextlib.redirect_stdout(printed):
            warnings.simplefilter("error")
            exec(compile(code[1], page, "exec"), names)
        output = printed.getvalue().rstrip()
        return f"{code[0]}\n````{{code-block}} text\n:class: output\n\n{output}\n````\n" if output else code[0]

    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            return CODE.sub(ran, text)
        finally:
            os.chdir(before)


def with_steppers(text: str, folder: Path) -> str:
    """A page with the lecture's network, live, where it says `<!-- stepper: relu -->`; the pages go into the folder."""

    def framed(mark: re.Match[str]) -> str:
        x, target = lecture_example()
        folder.mkdir(parents=True, exist_ok=True)
        stepper(lecture(mark[1]), x, target=target, rate=0.5).save(folder / f"{mark[1]}.html")
        return (
            f'<iframe class="stepper" src="{folder.name}/{mark[1]}.html" title="The lecture\'s network, step by step">'
            f'</iframe>\n<p><a href="{folder.name}/{mark[1]}.html">On a page of its own</a></p>'
        )

    return STEPPER.sub(framed, text)
