"""Derivatives of random networks of all blocks, written out: they come to what the sweep finds, and can be read."""

import json
import random
from collections.abc import Iterator, Mapping
from typing import Any
from xml.etree import ElementTree

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective, Seeds
from blockprop.learning import Derivation, explain, stepper
from tests.trust.random_networks import grown

TOLERANCE = 1e-12
"""Of the largest derivative by the same tensor."""
worst = [0.0]
"""The largest difference so far that counts as none."""


class Weighed(Objective):
    """Σ w y over all outputs of real numbers, with weights of their own."""

    def evaluate(self, outputs: Mapping[str, Tensor], target: Any = None) -> tuple[Tensor, Seeds]:
        seeds = {}
        for i, (name, y) in enumerate(outputs.items()):
            if y.is_floating_point():
                weights = torch.rand(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(i))
                seeds[name] = weights + 0.5
        return sum(((w * outputs[name]).sum() for name, w in seeds.items()), torch.zeros(())), seeds

    def __repr__(self) -> str:
        return "weighed outputs"


def faults(number: int, kind: str | None = None) -> Iterator[str]:
    """What is wrong with the derivatives by some elements of this network, written out, in words."""
    whole = grown(number, kind)
    network, inputs = whole.network(), [*whole.inputs.values()]
    chance = random.Random(number)
    trace = network.forward(*inputs)
    real = {name: tensor for name, tensor in (trace.values | network.parameters).items() if tensor.is_floating_point()}
    for name in chance.sample([name for name, tensor in real.items() if tensor.numel()], 2):
        place = chance.randrange(real[name].numel())
        index = torch.unravel_index(torch.tensor(place), real[name].shape) if real[name].dim() else ()
        of = f"{name}[{','.join(str(int(i)) for i in index)}]"
        found = explain(network, *inputs, of=of, objective=Weighed())
        yield from (f"network {number}, {of}: {fault}" for fault in _faults(found, _size(network, inputs, name)))
    if number % 29:  # pages take longer
        return
    page = stepper(network, *inputs, objective=Weighed()).html
    data = page.partition('id="data">')[2].partition("</script>")[0]
    said = json.loads(data, parse_constant=_refused)  # Python's NaN, which no browser reads
    yield from (f"network {number}, its page: {fault}" for fault in _untrue(said))


def _untrue(page: dict[str, Any]) -> Iterator[str]:
    """The sums on a page that do not come to what they are said to be."""
    for name, line in page.get("derivatives", {}).items():
        parts = line.get("parts", [])
        for part in parts:
            if part["terms"] or part["others"][0]:
                yield from _off(f"what {part['from']} adds by {name}", part["sum"], part)
        if parts:
            yield from _off(name, line["d"], {"terms": [("", 1, part["sum"]) for part in parts], "others": (0, 0)})
    for key, line in page.get("values", {}).items():
        if "terms" in line:
            yield from _off(key, line["y"], line)


def _off(what: str, said: float | str, line: Mapping[str, Any]) -> Iterator[str]:
    terms = [number for _, *factors in line["terms"] for number in factors]
    others = [line["others"][1], line.get("rest", 0)]
    if any(isinstance(number, str) for number in (said, *terms, *others)):
        return  # not finite
    products = [a * b for _, a, b in line["terms"]] + others
    if abs(sum(products) - said) > TOLERANCE * max(sum(abs(product) for product in products), 1e-300):
        yield f"{what} is said to be {said}, its terms come to {sum(products)}"


def _refused(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _size(network: Network, inputs: list[Tensor], name: str) -> float:
    """The largest derivative by this tensor."""
    double = network.copy().to(dtype=torch.float64)
    trace = double.forward(*(x.double() if x.is_floating_point() else x for x in inputs))
    _, seeds = Weighed().evaluate(trace.outputs)
    return float(double.backward(trace, seeds, wrt=name)[name].abs().max())


def _faults(found: Derivation, size: float) -> Iterator[str]:
    off = found.difference / size if size else found.difference
    if off > TOLERANCE:
        yield f"{found.value} is written out, {found.swept} was swept, off by {off:.1e}"
    else:
        worst[0] = max(worst[0], off)
    try:
        ElementTree.fromstring(found.html)
    except ElementTree.ParseError as error:
        yield f"its HTML is not well formed: {error}"
    latex = found.latex
    if not latex.isascii():
        yield f"its LaTeX has {sorted({sign for sign in latex if not sign.isascii()})}"
    if latex.replace(r"\{", "").count("{") != latex.replace(r"\}", "").count("}"):
        yield "its LaTeX has a brace too many"
