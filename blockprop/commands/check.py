"""`blockprop check`: backward passes against finite differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from blockprop.commands.console import WRONG_GRADIENT, say, show
from blockprop.commands.options import (
    Blocks,
    Json,
    NetworkOption,
    OpaqueNodes,
    PreprocessingOption,
    Seed,
    SkipUnreadable,
    TargetOption,
    one_network,
)
from blockprop.commands.picture_options import TokensOption
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from torch import Tensor

    from blockprop.data.dataset import Dataset
    from blockprop.engine.block import Block
    from blockprop.engine.check import CheckReport
    from blockprop.engine.network import Network


EPILOG = (
    "Examples:\n\n"
    "blockprop check mlp:16 --data digits\n\n"
    "blockprop check lenet.safetensors --data mnist.npz\n\n"
    "blockprop check 'Conv2d(3, 8, 3, padding=1)' --shape 2,3,8,8\n\n"
    "blockprop check 'LeakyMaxPool(2)' --blocks pool.py --shape 2,3,8,8"
)


def check(
    network: Annotated[
        str | None,
        typer.Argument(
            metavar="[NETWORK]",
            help="A saved network; pictures or digits, which come with blockprop; mlp:128,64, lenet, cnn, "
            "stages:32,64, lecture, my_net.py:build; by default digits; "
            "or one block with its settings, such as 'Conv2d(3, 8, 3)', also one of your own: my_blocks.py:Mine, or "
            "'Mine(2)' with --blocks my_blocks.py.",
        ),
    ] = None,
    named: NetworkOption = None,
    data: Annotated[str | None, typer.Option(help="Examples for a network; by default digits.")] = None,
    target: TargetOption = None,
    skip_unreadable: SkipUnreadable = False,
    preprocessing: PreprocessingOption = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            help="For a block: its input's shape, such as 2,3,8,8; again for a second input. The numbers are normal, "
            "or as said behind a colon: 2,3:positive, 2,3:bool, or whole numbers 4,7:0..9."
        ),
    ] = None,
    tokens: TokensOption = None,
    examples: Annotated[int, typer.Option(min=1, help="How many examples of DATA to use.")] = 4,
    every_element: Annotated[bool, typer.Option("--every-element", help="Try each element by itself; slower.")] = False,
    training: Annotated[bool, typer.Option("--training", help="Check what it does in training (dropout, …).")] = False,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Compare backward passes with finite differences; exit with 3 if one is wrong."""
    from blockprop.commands.described_blocks import block_named, no_block
    from blockprop.commands.inputs import load_network, network_and_examples
    from blockprop.commands.tokens import one_batch_of_tokens

    network = one_network(network, named) or "digits"
    block = block_named(network, own_blocks)
    if block is not None:
        given = {"--data": data, "--target": target, "--preprocessing": preprocessing, "--tokens": tokens}
        for option, value in given.items():
            if value is not None:
                raise SettingError(
                    f"{option} is for a network, and {network} is a block: --shape says what it is given"
                )
        report = _check_block(block, shape, training, seed)
    elif shape:
        raise SettingError(f"--shape is for a block, and {no_block(network)}; a network takes examples from --data")
    elif tokens is not None:
        net = load_network(network, own_blocks, opaque=opaque)
        report = _check_tokens(net, one_batch_of_tokens(tokens), every_element, seed, training, as_json)
    else:
        net, some = network_and_examples(
            network, data or "digits", target, own_blocks, seed, preprocessing, skip_unreadable, opaque
        )
        report = _check_network(net, some, examples, every_element, seed, training, as_json)
    if as_json:
        errors = {c.name: c.error for c in report.comparisons}
        result = {"right": report.passed, "worst_gradient_error": report.error, "errors": errors}
        show(result | {"faults": list(report.faults)}, as_json)
    else:
        print(report)
    if not report.passed:
        raise typer.Exit(WRONG_GRADIENT)


def _check_block(block: Block, shapes: Sequence[str] | None, training: bool, seed: int) -> CheckReport:
    from blockprop.commands.described_blocks import inputs_named
    from blockprop.engine.check import check_block
    from blockprop.engine.subject import require_count

    inputs = inputs_named(shapes or (), seed)
    require_count(block, len(inputs), "give the shape of each, as in --shape 2,3,8,8")
    return check_block(block, *inputs, training=training, seed=seed)


def _check_network(
    net: Network, data: Dataset, count: int, every_element: bool, seed: int, training: bool, quiet: bool
) -> CheckReport:
    import torch

    from blockprop.commands.losses import loss_of
    from blockprop.engine.check import check_network

    some = data[torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:count]]
    return check_network(
        net,
        some.x,
        objective=loss_of(net, data),
        target=some.y,
        training=training,
        every_element=every_element,
        progress=lambda name: say(f"checking {name}", quiet),
    )


def _check_tokens(
    net: Network, tokens: Tensor, every_element: bool, seed: int, training: bool, quiet: bool
) -> CheckReport:
    """Tokens have no labels: the loss is the distance of what the network gives from random numbers."""
    import torch

    from blockprop.engine.check import check_network
    from blockprop.engine.objectives import mean_squared_error
    from blockprop.visualize.attribution.tokens import require_tokens

    require_tokens(net, tokens)
    if len(net.outputs) > 1:
        raise SettingError(f"--tokens checks a network with one output; this one has {', '.join(net.outputs)}")
    return check_network(
        net,
        tokens,
        objective=mean_squared_error(),
        target=torch.randn(net(tokens).shape, generator=torch.Generator().manual_seed(seed)),
        wrt="parameters",
        training=training,
        every_element=every_element,
        progress=lambda name: say(f"checking {name}", quiet),
    )
