"""Everything in a model that has no block, as one error."""

from collections.abc import Sequence
from typing import NamedTuple

from blockprop.errors import UnsupportedError

MOST_SHOWN = 30
CHOSEN_BY_VALUES = "elements chosen by values are as many as there happen to be"
"""Why an operator has no block: the size of what it gives is no formula of sizes."""


class Problem(NamedTuple):
    """One call that cannot be imported. where: the source line, or the place in the file."""

    name: str
    operator: str
    why: str
    where: str = ""


def unsupported(model: str, problems: Sequence[Problem], hint: str) -> UnsupportedError:
    """The error that lists all problems of a model and says what can be done."""
    lines = [f"  {problem.name}: {problem.operator}: {problem.why}{_at(problem)}" for problem in problems[:MOST_SHOWN]]
    if len(problems) > MOST_SHOWN:
        lines.append(f"  … and {len(problems) - MOST_SHOWN} more")
    kinds = sorted({problem.operator for problem in problems})
    head = f"{model} uses {len(kinds)} operator{'s' * (len(kinds) > 1)} that cannot be imported ({', '.join(kinds)}):"
    chosen = next((problem for problem in problems if CHOSEN_BY_VALUES in problem.why), None)
    if chosen is not None:
        head = (
            f"{model} works on elements that it chooses by values of the data{_at(chosen)}, such as the rows of an "
            f"expert: as many as there happen to be. Let it work on all, and weigh them with 0 and 1. {head}"
        )
    return UnsupportedError("\n".join([head, *lines, hint]))


def _at(problem: Problem) -> str:
    return f" at {problem.where}" if problem.where else ""
