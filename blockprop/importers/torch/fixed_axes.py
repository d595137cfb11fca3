"""What is said of axes that the module lets vary, and the network does not: which operator fixes them, and where."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from blockprop.importers.torch.axis_groups import Axis

MOST_WORDS = 400
"""Characters of a reason."""


class FixedAxes:
    """Reasons, gathered in one attempt after the other; the first one counts."""

    def __init__(self) -> None:
        self._reasons: dict[Axis, str] = {}

    def note(self, axes: Iterable[Axis], why: str | Mapping[Axis, str]) -> None:
        """These axes do not vary, for one reason or each for its own."""
        for axis in axes:
            reason = why if isinstance(why, str) else why.get(axis)
            if reason:
                self._reasons.setdefault(axis, _first(reason))

    def notes(self, names: Sequence[str], inputs: Sequence[Tensor], free: Iterable[Axis]) -> list[str]:
        """A sentence for each input and reason, of the axes that are not free in the end."""
        groups: dict[tuple[int, str], list[int]] = defaultdict(list)
        for place in sorted(self._reasons.keys() - set(free)):
            groups[place.input, self._reasons[place]].append(place.axis)
        return [_sentence(names[i], inputs[i], axes, why) for (i, why), axes in groups.items()]


def _sentence(name: str, x: Tensor, axes: Sequence[int], why: str) -> str:
    sizes = " × ".join(str(x.shape[axis]) for axis in axes)
    if len(axes) == 1:
        return f"axis {axes[0]} of {name!r} is fixed at {sizes}: {why}"
    return f"axes {', '.join(map(str, axes))} of {name!r} are fixed at {sizes}: {why}"


def _first(reason: str) -> str:
    """The first problem of an error that lists them, in a line."""
    lines = reason.splitlines()
    text = " ".join((lines[1] if len(lines) > 1 and lines[0].endswith(":") else lines[0]).split())
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 1]}…"
