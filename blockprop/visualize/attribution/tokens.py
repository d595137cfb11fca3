"""Which tokens speak for what a network of tokens gives: the error goes back to their embedding, since no number of a
token can be changed a little.

    seen = token_saliency(network, torch.tensor([[5, 17, 3]]), "top")
    seen.weights                                (1, 3)
"""

from typing import NamedTuple

import torch
from torch import Tensor

from blockprop.blocks import Embedding, Gather
from blockprop.engine.briefly import brief_repr
from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import SettingError, ShapeError, shape
from blockprop.visualize.objectives.score_kinds import Direction
from blockprop.visualize.objectives.scores import Target, fixed, score, scores_node, titles, values


class TokenSaliency(NamedTuple):
    """weights: (n, t), signed.   targets: what was looked at in each row, in words.   values: (n,), its score."""

    weights: Tensor
    targets: list[str]
    values: Tensor

    def __repr__(self) -> str:
        return brief_repr(self)


@torch.no_grad()
def token_saliency(
    network: Network, tokens: Tensor, target: Target = "top", *, output: str | None = None
) -> TokenSaliency:
    """How much each token speaks for the target:  w_t = Σ_c e_tc ∂S/∂e_tc  with e_t, the embedding of token t.

    tokens: (n, t), whole numbers.   target, output: as for `saliency`; where the network gives scores for each token
    (n, t, k), as for the next one, those of the last token count.
    Raises SettingError for a network that has no embedding of its input, ShapeError for tokens of another kind.
    Source: Denil, Demiraj and de Freitas 2014, section 4, with the sign kept.
    """
    require_tokens(network, tokens)
    embedding = embedding_of(network)
    objective = _objective(network, tokens, target, output)
    trace = network.forward(tokens, keep=dict.fromkeys((*objective.nodes, embedding)))
    outputs = {name: trace[name] for name in objective.nodes}
    objective = fixed(objective, outputs)
    d = network.backward(trace, objective.evaluate(outputs)[1], wrt=embedding)[embedding]
    if not (d != 0).any():
        raise SettingError(f"no token influences {objective!r}: the gradient is zero everywhere; choose another target")
    weights = (d * trace[embedding]).sum(-1)
    return TokenSaliency(weights, titles(objective, len(tokens)), values(objective, outputs))


def embedding_of(network: Network) -> str:
    """The node that looks the input's tokens up in a table. SettingError if there is none."""
    if len(network.inputs) != 1:
        raise SettingError(f"tokens are for a network with one input; this one has {', '.join(network.inputs)}")
    reached = {network.inputs[0]}
    for node in network.nodes:
        if not reached.intersection(node.inputs):
            continue
        if isinstance(node.block, Embedding) or (isinstance(node.block, Gather) and node.inputs[0] not in reached):
            return node.name
        reached.update(node.keys)
    raise SettingError("the network takes no tokens: it looks its input up in no table")


def require_tokens(network: Network, tokens: Tensor) -> None:
    """ShapeError unless these are rows of tokens, SettingError if the network takes none, or has no such tokens."""
    if tokens.dim() != 2 or not tokens.numel() or tokens.is_floating_point() or tokens.dtype == torch.bool:
        raise ShapeError(f"expected tokens (n, t), whole numbers, came {shape(tokens)} of {tokens.dtype}")
    count = _table_length(network, embedding_of(network), tokens)
    if not 0 <= int(tokens.min()) <= int(tokens.max()) < count:
        raise SettingError(f"the network knows tokens 0…{count - 1}; came {int(tokens.min())}…{int(tokens.max())}")


def _table_length(network: Network, embedding: str, tokens: Tensor) -> int:
    node = next(node for node in network.nodes if node.name == embedding)
    if isinstance(node.block, Embedding):
        return len(node.block.weight)
    return len(network.values(tokens, keep=node.inputs[:1])[node.inputs[0]])


def _objective(network: Network, tokens: Tensor, target: Target, output: str | None) -> Objective:
    """The score of the target; of the last token's, if each token has scores of its own."""
    is_class = isinstance(target, int) or target == "top" or (isinstance(target, str) and target.isdecimal())
    node = scores_node(network, output) if is_class else ""
    y = network.values(tokens, keep=(node,))[node] if is_class else torch.empty(0)
    if y.dim() != 3 or y.shape[:2] != tokens.shape:
        return score(network, target, output)
    if len(tokens) != 1:
        raise ShapeError(f"where each token has scores of its own, expected one row of tokens, came {len(tokens)}")
    number = int(y[0, -1].argmax()) if target == "top" else int(target)
    if not 0 <= number < y.shape[2]:
        raise SettingError(f"{node!r} gives {y.shape[2]} scores for each token; there is none with the number {number}")
    direction = torch.zeros(y.shape[1:])
    direction[-1, number] = 1
    return Direction(node, str(number), direction)
