"""Central differences for a page that cannot compute them itself: of which derivatives they are found beforehand."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from blockprop.learning.both_passes import BothPasses
from blockprop.learning.elements import Element
from blockprop.learning.prices import AFFORDED
from blockprop.learning.tensor_views import rounded, shown_places


class CentralDifference(NamedTuple):
    """One derivative: the number of its element, row by row; the central difference; and what the sweep found.

    The two as JSON holds them (`rounded`).
    """

    at: int
    found: float | str
    swept: float | str


def checks(
    recording: BothPasses, names: Sequence[str], asked: Iterable[Element], prices: Mapping[str, float]
) -> dict[str, list[CentralDifference]]:
    """Central differences of derivatives by these inputs, nodes and parameters.

    Of each the largest derivative, and those that were asked for; of as many as can be afforded, the cheapest first,
    all that the page shows.
    """
    wanted = {name: {int(recording.d[name].abs().argmax())} for name in names if recording.d[name].numel()}
    for element in asked:
        wanted[element.name].add(element.flat)
    cost = {name: 2 * sum(prices[node.name] for node in recording.behind({name})) for name in wanted}  # two passes
    left = AFFORDED
    for name in sorted(wanted, key=lambda name: cost[name]):
        places = set(shown_places(recording.d[name])) | wanted[name]
        left -= cost[name] * (len(places) - len(wanted[name]))
        if left < 0:
            break
        wanted[name] = places
    return {name: [_check(recording, name, at) for at in sorted(places)] for name, places in wanted.items()}


def _check(recording: BothPasses, name: str, at: int) -> CentralDifference:
    d = recording.d[name]
    index = Element.at(name, at, d).index
    return CentralDifference(at, rounded(recording.difference(name, index), True), rounded(float(d[index]), True))
