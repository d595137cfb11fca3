"""Everything in a model that has no block, as one error."""

from collections.abc import Sequence
from typing import NamedTuple

from blockprop.errors import UnsupportedError

MOST_SHOWN = 30


class Problem(NamedTuple):
    """One call that cannot be imported. where: the source line, or the place in the file."""

    name: str
    operator: str
    why: str
    where: str = ""


def unsupported(model: str, problems: Sequence[Problem], hint: str) -> UnsupportedError:
    """The error that lists all problems of a model and says what can be done."""
    lines = [
        f"  {problem.name}: {problem.operator}: {problem.why}{' at ' + problem.where if problem.where else ''}"
        for problem in problems[:MOST_SHOWN]
    ]
    if len(problems) > MOST_SHOWN:
        lines.append(f"  … and {len(problems) - MOST_SHOWN} more")
    kinds = sorted({problem.operator for problem in problems})
    head = f"{model} uses {len(kinds)} operator{'s' * (len(kinds) > 1)} that cannot be imported ({', '.join(kinds)}):"
    return UnsupportedError("\n".join([head, *lines, hint]))
