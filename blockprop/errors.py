"""What can go wrong, as one family: `except BlockpropError` catches all of it and nothing else.

BlockpropError
├── ShapeError        a tensor has the wrong shape, type of number or device
├── GraphError        the network does not hang together, or lacks what was named
├── SettingError      an argument, flag or name has a value that is not allowed
├── DataError         a data file or table cannot be used
├── FormatError       a saved network or checkpoint cannot be used
├── NotFiniteError    a NaN or an infinity appeared
├── GradientError     a backward pass disagrees with finite differences
├── UnsupportedError  a model from elsewhere has an operator without a block, or the other way round
├── FetchError        a file could not be fetched from the network
└── NativeError       the kernels in C could not be built

BlockpropWarning is for what people want to know, and what stops nothing; the command line says it in a line.
The functions at the end put shapes and near names into words, the same for all messages.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

LISTED = 24
"""Names that a message lists at most."""
NEARLY = 0.15
"""So much less alike than the nearest name may another one be that is suggested, too."""


class BlockpropError(Exception):
    """Base of all errors that blockprop raises on purpose."""

    is_told_here = True
    """False where all of several processes raise it, and another one says it."""


class ShapeError(BlockpropError, ValueError):
    """A tensor's shape, dtype or device is not what the block takes."""


class GraphError(BlockpropError, ValueError):
    """The graph is not a graph of blocks (cycle, missing node), or it lacks a name that was asked for."""


class SettingError(BlockpropError, ValueError):
    """A setting has a value outside its range, or names something that does not exist."""


class DataError(BlockpropError, ValueError):
    """A data set cannot be read or does not fit; the message names the file and the row."""


class FormatError(BlockpropError, ValueError):
    """A file in blockprop's own format is damaged, incomplete, or not such a file."""


class NotFiniteError(BlockpropError, ArithmeticError):
    """A NaN or an infinity appeared; the message names the step and the first block that produced it."""


class GradientError(BlockpropError, AssertionError):
    """A backward pass disagrees with finite differences; the message names the worst element."""


class UnsupportedError(BlockpropError):
    """An operator has no block, or a setting of it; collected, and raised as one error for the whole model."""


class FetchError(BlockpropError, OSError):
    """A file could not be fetched: no connection, another file than expected, or no place to put it."""


class NativeError(BlockpropError):
    """The kernels in C could not be built, as each compiler says, or are needed where there are none."""


class NameMissing(BlockpropError, AttributeError):
    """A module has no such name."""


class BlockpropWarning(UserWarning):
    """What a person should know: a guess about somebody's data, what was left out of them, a run that is over."""


def shape(tensor: Tensor) -> str:
    """A shape as people write it: "2 x 3 x 32 x 32"; a single number is "one number"."""
    return " x ".join(str(n) for n in tensor.shape) or "one number"


def near(name: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The names that may have been meant, the likeliest first: nearly as written, else those that begin so.

    Case does not matter. One that is nearly right leaves out those that are much farther away.
    """
    folded: dict[str, str] = {}
    for other in names:
        folded.setdefault(other.casefold(), other)
    wanted = name.casefold()
    close = difflib.get_close_matches(wanted, folded, n=most)
    alike = {other: difflib.SequenceMatcher(None, other, wanted).ratio() for other in close}
    meant = [other for other in close if alike[other] > max(alike.values()) - NEARLY]
    begun = [other for other in folded if wanted and other.startswith(wanted)][:most]
    return [folded[other] for other in meant or begun]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """What to add to a message about an unknown name that lists the names itself: near names, or nothing."""
    meant = near(name, names)
    return f"; did you mean {' or '.join(map(repr, meant))}?" if meant else ""


def listed(names: Iterable[str]) -> str:
    """Names with commas between, all or the first of them and their number."""
    names = list(names)
    more = f", … ({len(names)} in all; `blockprop info` tells more)" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more


def no_such(what: str, name: str, names: Iterable[str]) -> str:
    """The message that a network has no node, layer, … of this name: what there is, then near names."""
    names = list(names)
    return f"the network has no {what} {name!r}; its {what}s are {listed(names)}{did_you_mean(name, names)}"


def suggestion(name: str, names: Iterable[str]) -> str:
    """What to add to a message about an unknown name: near names, or all if there are few, or nothing."""
    names = list(names)
    if meant := did_you_mean(name, names):
        return meant
    return f"; there are {', '.join(sorted(names))}" if len(names) <= 20 else ""
