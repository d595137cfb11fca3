"""Saliency maps of several photographs by several methods, with a progress bar."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from blockprop.commands.console import counted
from blockprop.commands.memory import MemoryWatch
from blockprop.commands.photos import Seen
from blockprop.engine.network import Network
from blockprop.errors import SettingError, suggestion
from blockprop.visualize.attribution.methods import METHODS
from blockprop.visualize.attribution.saliency import Saliency, saliency
from blockprop.visualize.objectives.scores import score

MAP_CELL = 384
"""Pixels of a photograph on a sheet."""


def look(
    network: Network,
    seen: Sequence[Seen],
    methods: Sequence[str],
    targets: Sequence[str],
    output: str | None = None,
    samples: int = 50,
    sigma: float = 0.15,
    node: str | None = None,
    grid: tuple[int, int] | None = None,
    strict: bool = False,
    seed: int = 0,
    quiet: bool = False,
    memory: str | None = None,
    watch: MemoryWatch | None = None,
) -> list[list[Saliency]]:
    """For each photograph what each method finds, one target after the other.

    memory: of each gradient.   watch: is told what each will take of it.
    """
    for target in targets:
        score(network, target, output)  # raises before the bar is drawn
    passes = {method: samples if METHODS[method].passes else 1 for method in methods}
    maps: list[list[Saliency]] = []
    with counted("Looking", len(seen) * len(targets) * sum(passes.values()), quiet) as advance:
        for photo in seen:
            maps.append([])
            for target, method in itertools.product(targets, methods):
                values = {METHODS[method].passes: samples, "sigma": sigma, "node": node, "grid": grid}
                settings: dict[str, Any] = {name: values[name] for name in METHODS[method].settings if name in values}
                bar = Passes(advance, f"{photo.name}, {method}", passes[method])
                settings |= {"output": output, "strict": strict, "seed": seed, "progress": bar, "memory": memory}
                one = saliency(network, photo.x, target, method, expecting=watch.expect if watch else None, **settings)
                bar.finish()
                maps[-1].append(one)
    return maps


class Passes:
    """Advances a progress bar by one for each call, and at the end by what is missing of `total`."""

    def __init__(self, advance: Callable[[str], None], text: str, total: int):
        self.advance, self.text, self.left = advance, text, total

    def __call__(self) -> None:
        if self.left:
            self.left -= 1
            self.advance(self.text)

    def finish(self) -> None:
        while self.left:
            self()


def method_names(given: Sequence[str]) -> list[str]:
    """The methods that are meant; SettingError for an unknown one."""
    if "all" in given:
        return list(METHODS)
    for method in given:
        if method not in METHODS:
            raise SettingError(f"there is no method {method!r}{suggestion(method, [*METHODS, 'all'])}")
    return list(dict.fromkeys(given))
