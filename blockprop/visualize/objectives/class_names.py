"""Classes by name: one of many, found by as much of its name as tells it from the others."""

import re
from collections.abc import Callable, Sequence

from blockprop.errors import SettingError

CLASSES_NAMED = 8
"""Classes that an error names."""


def find_class(name: str, classes: Sequence[str]) -> int | None:
    """The number of a class by its name: exactly, or by a part that no other class has; None for an unknown name.

    A name may hold several, as those of ImageNet do ("goldfish, Carassius auratus"). The whole name counts for more
    than one of several, that for more than words of it, and these for more than any part; case does not matter.
    Raises SettingError for one that fits several classes, with these.
    """
    wanted = name.strip().casefold()
    for fits in FITTING:
        fitting = [number for number, title in enumerate(classes) if wanted and fits(wanted, title.casefold())]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            some = ", ".join(f"{classes[number]!r} ({number})" for number in fitting[:CLASSES_NAMED])
            rest = f" and {len(fitting) - CLASSES_NAMED} more" if len(fitting) > CLASSES_NAMED else ""
            raise SettingError(
                f"{name!r} fits {len(fitting)} classes: {some}{rest}; give more of the name, or the number"
            )
    return None


def all_names(classes: Sequence[str]) -> list[str]:
    """Every name of every class."""
    return list(dict.fromkeys(part for title in classes for part in _parts(title)))


def _parts(title: str) -> list[str]:
    return [part.strip() for part in title.split(",")]


FITTING: tuple[Callable[[str, str], bool], ...] = (
    lambda wanted, title: wanted == title,
    lambda wanted, title: wanted in _parts(title),
    lambda wanted, title: re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", title) is not None,
    lambda wanted, title: wanted in title,
)
"""Ways in which (name, class) fit, the closest first."""
