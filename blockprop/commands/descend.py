"""`blockprop descend`: gradient descent on a formula, its path over the contour lines, and what it did in words."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blockprop.commands.console import show, show_table
from blockprop.commands.options import RATE, Json
from blockprop.commands.results import place
from blockprop.errors import NotFiniteError, SettingError

if TYPE_CHECKING:
    from blockprop.calculus.descent import Descent, DescentStep
    from blockprop.calculus.text import TextFunction


MOST_STEPS = 100_000
EPILOG = (
    "Examples:\n\n"
    'blockprop descend "x**2 + 10*y**2" --from 3,1 --rate 0.09\n\n'
    'blockprop descend "x**2 + 10*y**2" --from 3,1 --rate 0.02 --momentum 0.9 --out path.png\n\n'
    'blockprop descend "(1 - x)**2 + 100*(y - x**2)**2" --from=-1,1 --rate 0.001 --steps 500'
)


def descend(
    formula: Annotated[
        str,
        typer.Argument(
            help="A function of x and y, or of x: numbers, + - * / **, brackets, pi, e, and functions such as sin(x), "
            "exp(x), sqrt(x), abs(x), max(x, y)."
        ),
    ],
    start: Annotated[str, typer.Option("--from", help="Where to start: 3,1.")],
    rate: Annotated[float, typer.Option(*RATE, help="α in x ← x − α ∇f(x).")] = 0.1,
    momentum: Annotated[float, typer.Option(help="Share of the last step that goes on, 0 to 1.")] = 0.0,
    steps: Annotated[int, typer.Option(min=1, max=MOST_STEPS, help="How many.")] = 50,
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write: .svg or .png.")] = Path("descent.svg"),
    as_json: Json = False,
) -> None:
    """Walk down a function by gradient descent, draw the path, and say what rate and momentum did."""
    from blockprop.calculus.descent import descend as run_down
    from blockprop.calculus.judging import judge
    from blockprop.calculus.recording import record
    from blockprop.calculus.text import TextFunction
    from blockprop.reports.descents import descent_path
    from blockprop.reports.figures import png, svg
    from blockprop.saving.files import write_file

    if out.suffix.lower() not in (".svg", ".png"):
        raise SettingError(f"expected a name that ends in .svg or .png, came {out}")
    function = TextFunction(formula)
    numbers = _numbers(start, function)
    record(function, numbers)  # what is wrong with it at the start is said first
    _require_smooth(function, numbers)
    run = run_down(function, numbers, rate, momentum, steps, kinks=True)
    records, why_not = _walked(run)
    verdict = judge(function, records, rate, momentum, is_finite=why_not is None)
    out = place(out)
    figure = descent_path(function, records, verdict.sentences)
    write_file(out, png(figure) if out.suffix.lower() == ".png" else svg(figure))
    last = records[-1]
    if not as_json:
        show_table(*_table(function, records))
        print()
        for sentence in verdict.sentences:
            print(sentence[0].upper() + sentence[1:] + ".")
        print(f"\nwritten  {out}")
        return
    facts = {"formula": function.text, "steps": last.step, "x": last.x.tolist(), "value": last.value}
    facts |= {"gradient_norm": last.gradient_norm, "verdict": verdict.kind, "said": list(verdict.sentences)}
    show({**facts, "curvature": verdict.curvature, "broke_off": why_not, "written": str(out)}, as_json=True)


def _require_smooth(function: TextFunction, numbers: list[float]) -> None:
    from blockprop.calculus.slopes import kink_at

    if (kink := kink_at(function, numbers)) is not None:
        name = function.variables[kink.place[0]] if kink.place else "the start"
        raise SettingError(
            f"{function.text} has {kink._replace(place=() if kink.place else None).in_words(name)}; start beside it"
        )


def _walked(run: Descent) -> tuple[list[DescentStep], str | None]:
    """The records, and why there are no more of them if a number was not finite. At the start that is an error."""
    records: list[DescentStep] = []
    try:
        for record in run:
            records.append(record)
    except NotFiniteError as error:
        if not records:
            raise
        return records, str(error)
    return records, None


def _numbers(text: str, function: TextFunction) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        raise SettingError(f"--from: expected numbers with commas between, as 3,1, came {text!r}") from None
    names = function.variables
    if len(numbers) != len(names):
        raise SettingError(
            f"--from {text}: {function.text} has {len(names)} variable{'s' * (len(names) > 1)}, {' and '.join(names)}; "
            f"{len(numbers)} number{'s' * (len(numbers) > 1)} came"
        )
    if not all(map(math.isfinite, numbers)):
        raise SettingError(f"--from {text}: a start is of finite numbers")
    return numbers


def _table(function: TextFunction, records: Sequence[DescentStep]) -> tuple[list[str], Iterator[list[str]]]:
    """Some of the steps: the first ones, then ever fewer, and the last."""
    shown = sorted(
        {step for step in (0, 1, 2, 3, 5, 10, 20, 50, 100, 200, 500) if step < len(records)} | {len(records) - 1}
    )
    rows = (
        [
            f"{record.step:,}",
            *(f"{number:.6g}" for number in record.x.tolist()),
            f"{record.value:.6g}",
            f"{record.gradient_norm:.3g}",
        ]
        for record in (records[i] for i in shown)
    )
    return ["step", *function.variables, "f", "|∇f|"], rows
