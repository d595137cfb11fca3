"""Random networks of all blocks, in all layouts of memory, beside an oracle that knows of no layouts.

A network is grown from rows of tests/cases/. Each input of a row is its own tensor, to which a little of an earlier
output is added: flattened, shuffled, made small, brought into the row's shape and into an odd order of memory. So there
are forks and joins, blocks that stand in two places, and each block sees numbers that it is made for.

The oracle grows along: torch's version of each row under autograd, between copies in usual memory, forth and back. That
is no oracle for axes of one, where test_layouts.py holds torch itself against copies.
"""

import copy
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError
from tests.blocks.running import by_autograd, made, run
from tests.cases import CASES, Case
from tests.trust.layouts import any_layout, expanded, off_by, usual

TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-3}
"""Of the largest number of a tensor, or of 1."""
LITTLE = 0.02
"""How much of earlier outputs is added: rows keep their numbers away from the ends of what they are made for."""
worst: Counter[str] = Counter()
"""The largest difference so far that counts as none, by type of number."""
BY_KIND: dict[str, list[Case]] = {}
for _case in CASES:
    BY_KIND.setdefault(type(_case.make()).__name__, []).append(_case)
KINDS = tuple(BY_KIND)


class _Copied(torch.autograd.Function):
    """The same numbers in usual memory, and the same of what comes back."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return usual(x)

    @staticmethod
    def backward(_: Any, d: Tensor) -> Tensor:
        return usual(d)


def copied(x: Tensor) -> Tensor:
    """In usual memory; autograd sees a copy, too."""
    return _Copied.apply(x) if x.is_floating_point() else usual(x)


class Grown:
    """A network as it grows, and what torch makes of the same."""

    def __init__(self, dtype: torch.dtype, chance: random.Random):
        self.dtype, self.chance = dtype, chance
        self.nodes: list[Node] = []
        self.inputs: dict[str, Tensor] = {}
        self.values: dict[str, Tensor] = {}
        """Of all inputs and nodes, by torch; those of real numbers under autograd."""
        self.parameters: dict[str, Tensor] = {}
        self.training: bool | None = None
        self._twins: dict[int, Block] = {}
        self._used: list[tuple[Case, Block]] = []

    def add(self, case: Case) -> None:
        """One more node, if its block can stand beside the others: in training, or not."""
        block = self._block(case)
        if block.has_training_mode:
            if self.training not in (None, case.training):
                return
            self.training = case.training
        self._used.append((case, block))
        name = f"n{len(self.nodes)}"
        own = self._cut(case, block, case.tensors(self.dtype, seed=self.chance.randrange(4)))
        sources = tuple(self._joined(f"{name}.{i}", x) for i, x in enumerate(own))
        self._node(name, block, sources, case.reference)

    def network(self) -> Network:
        """All nodes; what no other takes is an output."""
        return Network(self.nodes, tuple(self.inputs))

    def _block(self, case: Case) -> Block:
        """A new one, or one that stands somewhere already."""
        known = [block for other, block in self._used if other is case and not hasattr(block, "generator")]
        return known[0] if known else made(case, self.dtype)

    def _cut(self, case: Case, block: Block, own: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The row's inputs, sometimes with one axis cut to length 1, where block and oracle both take them."""
        if not own or not own[0].dim() or self.chance.random() < 0.7:
            return own
        axis, shape = self.chance.randrange(own[0].dim()), own[0].shape
        cut = tuple(usual(x.narrow(axis, 0, min(1, shape[axis]))) if x.shape == shape else x for x in own)
        try:
            mine, _ = run(block, case, *cut)
            theirs = by_autograd(block, case, cut)[0]
        except (BlockpropError, RuntimeError, ValueError, IndexError):
            return own
        return cut if [y.shape for y in mine] == [y.shape for y in theirs] else own

    def _input(self, name: str, x: Tensor) -> str:
        self.inputs[name] = x
        self.values[name] = x.clone().requires_grad_() if x.is_floating_point() else x
        return name

    def _joined(self, name: str, own: Tensor) -> str:
        """The row's own tensor as an input of the network, with a little of an earlier output added."""
        title = self._input(f"x{name}", own)
        sources = [
            key
            for key, y in self.values.items()
            if key[0] == "n" and y.is_floating_point() and y.dtype == self.dtype and y.numel() and y.isfinite().all()
        ]
        if not sources or not own.is_floating_point() or not own.numel() or self.chance.random() < 0.2:
            return title
        source = self.chance.choice(sources[-6:])
        order = self.chance.sample(range(own.dim()), own.dim())
        count = self.values[source].numel()
        places = torch.tensor([self.chance.randrange(count) for _ in range(own.numel())])
        steps: list[tuple[Block, tuple[str, ...], Any]] = [
            (blocks.Reshape((-1,), 0), (source,), lambda _, y: y.reshape(-1)),
            (blocks.Gather(0), (f"{name}/0", self._input(f"p{name}", places)), lambda _, y, at: y[at]),
            (blocks.Tanh(), (f"{name}/1",), lambda _, y: y.tanh()),
            (blocks.Affine(LITTLE), (f"{name}/2",), lambda _, y: y * LITTLE),
            (
                blocks.Reshape(tuple(own.shape[axis] for axis in order), 0),
                (f"{name}/3",),
                lambda b, y: y.reshape(b.shape),
            ),
            (
                blocks.Transpose(tuple(order.index(axis) for axis in range(own.dim()))),
                (f"{name}/4",),
                lambda b, y: y.permute(b.axes),
            ),
            (blocks.Add(), tuple(self.chance.sample((title, f"{name}/5"), 2)), lambda _, a, b: a + b),
        ]
        for i, (block, inputs, reference) in enumerate(steps):
            self._node(f"{name}/{i}", block, inputs, reference)
        return f"{name}/{len(steps) - 1}"

    def _node(self, name: str, block: Block, inputs: tuple[str, ...], reference: Any) -> None:
        twin = self._twins.get(id(block))
        if twin is None:
            twin = self._twins[id(block)] = copy.deepcopy(block)
            for key, tensor in twin.parameters.items():
                leaf = tensor.detach().clone().requires_grad_()
                setattr(twin, key, leaf)
                self.parameters[f"{name}.{key}"] = leaf
        _seed(twin)
        y = reference(twin, *(copied(self.values[source]) for source in inputs))
        node = Node(name, block, inputs)
        outputs = y if block.output_count > 1 else (y,)
        self.values |= {key: copied(one) for key, one in zip(node.keys, outputs, strict=True)}
        self.nodes.append(node)


def grown(seed: int, kind: str | None = None) -> Grown:
    """The network of this number: of two to six rows, the first of this kind of block, if one is named."""
    chance = random.Random(seed)
    network = Grown(torch.float32 if chance.random() < 0.2 else torch.float64, chance)
    kinds = [kind or chance.choice(KINDS), *chance.choices(KINDS, k=chance.randint(1, 5))]
    rows = [chance.choice(BY_KIND[one]) for one in kinds]
    if chance.random() < 0.3:
        rows.append(rows[0])  # whose block then stands in two places
    for case in rows:
        network.add(case)
    return network


def faults(seed: int, kind: str | None = None, seen: Counter[str] | None = None) -> Iterator[str]:
    """What this network gives otherwise than the oracle, in words; `seen` counts the blocks that stood in it."""
    whole = grown(seed, kind)
    network, chance = whole.network(), whole.chance
    if seen is not None:
        seen.update(type(block).__name__ for block in network.unique_blocks.values())
    for block in network.unique_blocks.values():
        _seed(block)
    inputs = [any_layout(usual(x), chance) for x in whole.inputs.values()]
    trace = network.forward(*inputs, training=bool(whole.training))
    inner = [key for key in network.keys if key not in network.outputs and chance.random() < 0.1]
    real = [key for key in (*network.outputs, *inner) if whole.values[key].is_floating_point()]
    torch.manual_seed(seed)
    seeds = {key: torch.randn_like(whole.values[key]) for key in real}
    wanted = chance.choice([("inputs", "parameters"), ("inputs",), ("parameters",)])
    given = {key: _somehow(d, chance) for key, d in seeds.items()}
    seeds = {key: usual(d) for key, d in given.items()}
    found = network.backward(trace, given, wrt=wanted)
    results = {key: trace[key] for key in network.outputs} | found
    expected = {key: whole.values[key].detach() for key in network.outputs} | derivatives(whole, seeds, found)
    before = [*whole.inputs.values(), *seeds.values()]
    if any(off_by(x, y) for x, y in zip([*inputs, *given.values()], before, strict=True)):
        yield f"network {seed} changes what it is given\n{network}"
    for name, mine in results.items():
        off = off_by(mine, expected[name])
        if off <= TOLERANCE[whole.dtype]:
            kind = str(whole.dtype).removeprefix("torch.")
            worst[kind] = max(worst[kind], off)  # type: ignore[assignment]
        else:
            yield f"network {seed} ({whole.dtype}): {name} is off by {off:.3g}\n{network}"


def derivatives(whole: Grown, seeds: dict[str, Tensor], names: Any) -> dict[str, Tensor]:
    """The derivatives of these names; 0 where nothing comes back."""
    leaves = {name: (whole.parameters | whole.values)[name] for name in names}
    real = {name: leaf for name, leaf in leaves.items() if leaf.requires_grad}
    roots = [(whole.values[key], d) for key, d in seeds.items() if whole.values[key].requires_grad]
    found: Any = (None,) * len(real)
    if roots and real:
        ys, ds = zip(*roots, strict=True)
        found = torch.autograd.grad(ys, tuple(real.values()), ds, allow_unused=True)
    by_name = dict(zip(real, found, strict=True))
    return {name: torch.zeros_like(x) if by_name.get(name) is None else by_name[name] for name, x in leaves.items()}


def _seed(block: Block) -> None:
    if getattr(block, "generator", None) is not None:
        block.generator.manual_seed(1)


def _somehow(d: Tensor, chance: random.Random) -> Tensor:
    if d.dim() and chance.random() < 0.2:
        (one,) = expanded((d,), chance.choice([(0,), (d.dim() - 1,), tuple(range(d.dim()))]))
        return d if one is None else one
    return any_layout(d, chance)
