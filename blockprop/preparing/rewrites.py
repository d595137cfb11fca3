"""The rewrites, in their order. To add one: its function, and its name in REWRITES."""

from functools import partial

from blockprop.blocks import Add, BatchNorm2d, Clamp, Conv2d, Dropout, MaxPool2d, Pad, ReLU
from blockprop.engine.block import Block
from blockprop.engine.plan import Node
from blockprop.preparing.convolution import FixedConv2d, folds
from blockprop.preparing.draft import Draft, Rewrite
from blockprop.preparing.pooling import FixedMaxPool2d
from blockprop.preparing.sums import FixedReLU, RectifiedSum

EXACT = 256
"""Whole numbers up to it are the same in every floating type."""


def skip_dropout(draft: Draft) -> int:
    """Dropout drops nothing in evaluation; it is left out."""
    names = [node.name for node in draft.nodes.values() if draft.may_change(node, Dropout)]
    hidden = [name for name in names if name not in draft.visible]
    for name in hidden:
        draft.skip(draft.nodes[name])  # which may read another one by now
    return len(hidden)


def join_convolutions(draft: Draft) -> int:
    """A reflection, a convolution, its batch normalization and its rectifier become one block with fixed weights."""
    joined = 0
    for node in reversed([*draft.nodes.values()]):
        if node.name in draft.nodes and (chain := _chain(draft, node)):
            draft.join([link for link in chain if link], partial(_joined, chain))
            joined += sum(link is not None for link in chain)
    return joined


def _chain(draft: Draft, node: Node) -> list[Node | None]:
    """[reflection, convolution, normalization, rectifier], None for what is not there, if this node ends such a chain;
    else nothing."""
    end: Node | None = node
    rectifier = end if end and _rectifies(draft, end) else None
    end = draft.before(end) if rectifier and end else end
    norm = end if end and draft.may_change(end, BatchNorm2d) and _is_running(end.block) else None
    end = draft.before(end) if norm and end else end
    if end is None or not draft.may_change(end, Conv2d) or (norm and not folds(end.block, norm.block)):
        return []
    before = draft.before(end)
    pad = before if before and draft.may_change(before, Pad) and _reflects(before.block) else None
    return [pad, end, norm, rectifier]


def _joined(chain: list[Node | None]) -> Block:
    pad, convolution, norm, rectifier = (link and link.block for link in chain)
    return FixedConv2d(convolution, pad is not None, norm, rectifier)  # type: ignore[arg-type]


def _rectifies(draft: Draft, node: Node) -> bool:
    block = node.block
    if isinstance(block, Clamp):
        whole = block.low == 0 and block.high is not None and block.high <= EXACT and block.high == int(block.high)
        return draft.may_change(node, Clamp) and whole and not block.inclusive
    return draft.may_change(node, ReLU)


def _is_running(block: Block) -> bool:
    return isinstance(block, BatchNorm2d) and block.running_mean is not None


def _reflects(block: Block) -> bool:
    return isinstance(block, Pad) and block.mode == "reflect" and block.pads == (1, 1, 1, 1)


def narrow_pools(draft: Draft) -> int:
    """A max pooling with channels beside each other keeps where its maxima stood, and nothing else."""
    pools = [node for node in draft.nodes.values() if draft.may_change(node, MaxPool2d)]
    for node in pools:
        draft.join([node], partial(FixedMaxPool2d, node.block))  # type: ignore[arg-type]
    return len(pools)


def join_sums(draft: Draft) -> int:
    """A sum and the ReLU behind it become one block."""
    joined = 0
    for node in [*draft.nodes.values()]:
        before = draft.before(node) if draft.may_change(node, ReLU) else None
        if before and draft.may_change(before, Add):
            draft.join([before, node], RectifiedSum)
            joined += 2
    return joined


def narrow_rectifiers(draft: Draft) -> int:
    """A rectifier that stays alone keeps where it was open, and nothing else."""
    rectifiers = [node for node in draft.nodes.values() if _rectifies(draft, node)]
    for node in rectifiers:
        draft.join([node], partial(FixedReLU, getattr(node.block, "high", None)))
    return len(rectifiers)


REWRITES: dict[str, Rewrite] = {
    rewrite.__name__: rewrite
    for rewrite in (skip_dropout, join_convolutions, join_sums, narrow_pools, narrow_rectifiers)
}
"""All rewrites by name."""
