"""Tokens on the command line: rows of whole numbers, for networks that read text or the like."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from blockprop.commands.console import say_all, show, show_table
from blockprop.commands.inputs import load_network
from blockprop.engine.fitting import fitting
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.visualize.attribution.tokens import require_tokens, token_saliency
from blockprop.visualize.objectives.scores import gives_classes

BAR = 20
"""Characters of the longest bar."""


def rows_of_tokens(text: str) -> dict[str, Tensor]:
    """{name: (1, t)} of "5,17,3", or of a file with one row on each line. SettingError naming what is no number."""
    path = Path(text)
    if not path.is_file():
        return {text: _row(text, text)}
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(f"{path}: expected a text file with rows of tokens ({error})") from None
    rows = {f"{path}:{i}": _row(line, f"{path}:{i}") for i, line in enumerate(lines, 1) if line.strip()}
    if not rows:
        raise SettingError(f"{path}: expected rows of tokens, the file is empty")
    return rows


def one_batch_of_tokens(text: str) -> Tensor:
    """(n, t): all rows together. SettingError if they are not equally long."""
    rows = list(rows_of_tokens(text).values())
    lengths = sorted({row.shape[1] for row in rows})
    if len(lengths) > 1:
        raise SettingError(f"{text}: expected rows of one length, came {', '.join(map(str, lengths))} tokens")
    return torch.cat(rows)


def _row(text: str, where: str) -> Tensor:
    parts = text.replace(",", " ").split()
    for part in parts:
        if not part.isdecimal() or len(part) > 18:
            raise SettingError(f"{where}: expected whole numbers such as 5,17,3, or a file of them, came {part!r}")
    if not parts:
        raise SettingError(f"expected whole numbers such as 5,17,3, or a file of them, came {where!r}")
    return torch.tensor([[int(part) for part in parts]])


def outputs_for_tokens(network: Network, text: str, notes: list[str]) -> dict[str, Tensor]:
    """{row: the numbers that the network gives for it}; those of the last token, if each has its own."""
    outputs = {}
    for name, tokens in rows_of_tokens(text).items():
        require_tokens(network, tokens)
        y = network(fitting(tokens, network)).cpu()
        if y.dim() == 3 and y.shape[:2] == tokens.shape:
            notes += [] if notes else ["each token has numbers of its own; those of the last one are shown"]
            y = y[:, -1]
        if y.numel() != max(y.shape, default=1):
            raise SettingError(f"{name}: the output {network.outputs[0]!r} is {tuple(y.shape)}, not one row of numbers")
        outputs[name] = y.flatten()
    return outputs


def say_which_tokens(
    path: str,
    text: str,
    targets: list[str],
    output: str | None,
    own_blocks: str | None,
    opaque: bool,
    device: str,
    as_json: bool,
) -> None:
    """Print how much each token speaks for each target, with bars."""
    network = load_network(path, own_blocks, device, opaque)
    facts: list[dict[str, Any]] = []
    for name, tokens in rows_of_tokens(text).items():
        for target in targets:
            seen = token_saliency(network, fitting(tokens, network), target, output=output)
            title, weights = seen.targets[0], seen.weights[0].tolist()
            facts.append({"tokens": tokens[0].tolist(), "row": name, "target": title, "value": float(seen.values[0])})
            facts[-1]["weights"] = weights
            if not as_json:
                print("\n" * (len(facts) > 1) + f"{name}: for {_named(network, title)}, {float(seen.values[0]):.4g}")
                show_table(["token", "weight", ""], _bars(tokens[0].tolist(), weights))
    if as_json:
        show({"network": path, "saliency": facts}, as_json)
    say_all(["weight: embedding times gradient; + speaks for the target, − against it"], as_json)


def _named(network: Network, title: str) -> str:
    known = gives_classes(network, network.outputs[0], len(network.meta.get("classes") or ()))
    return f"{'class' if known else 'output'} {title}" if title.isdecimal() else title


def _bars(tokens: list[int], weights: list[float]) -> list[list[str]]:
    longest = max(map(abs, weights)) or 1.0
    lengths = (round(abs(weight) / longest * BAR) for weight in weights)
    signs = ("█" if weight > 0 else "░" for weight in weights)
    return [
        [str(token), f"{weight:+.4g}", sign * length]
        for token, weight, length, sign in zip(tokens, weights, lengths, signs, strict=True)
    ]
