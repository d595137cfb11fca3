"""`blockprop train`: a network learns from data, is tested and saved."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blockprop.commands.choices import SCHEDULES, TORCH_OPTIMIZERS
from blockprop.commands.console import (
    Loudness,
    explain,
    is_quiet,
    say,
    say_all,
    set_loudness,
    show,
    spoken,
    watched,
)
from blockprop.commands.options import (
    BATCH_SIZE,
    RATE,
    Blocks,
    CropLearned,
    Device,
    Json,
    LossName,
    OpaqueNodes,
    PreprocessingOption,
    Seed,
    SkipUnreadable,
    Source,
    TargetOption,
)
from blockprop.commands.rank import is_first, own_device
from blockprop.commands.results import place
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from blockprop.engine.network import Network
    from blockprop.training.run import Record


TABLES = "Tables"
"""The part of the help for what a table's columns are taken for."""
EPILOG = (
    "Examples:\n\n"
    "blockprop train digits\n\n"
    "blockprop train mnist.npz --network lenet --epochs 5 --out lenet.safetensors --report report\n\n"
    "blockprop train cars.csv --target price --optimizer adam --patience 20"
)


def train(
    data: Source,
    network: Annotated[
        str,
        typer.Option(
            "--network",
            "-n",
            help="mlp:128,64, lenet, cnn, stages:32,64, lecture, my_net.py:build, or a saved network to go on from.",
        ),
    ] = "mlp:64",
    out: Annotated[Path, typer.Option("--out", "-o", help="Where to save the trained network.")] = Path(
        "network.safetensors"
    ),
    target: TargetOption = None,
    epochs: Annotated[int, typer.Option(min=1, help="How often to go through the data.")] = 20,
    batch_size: Annotated[int, typer.Option(*BATCH_SIZE, min=1, help="Examples per step.")] = 64,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches that make one step together: as one so much larger, in less memory.")
    ] = 1,
    optimizer: Annotated[
        str,
        typer.Option(help=f"descent (our own gradient descent), or of torch.optim: {', '.join(TORCH_OPTIMIZERS)}."),
    ] = "descent",
    rate: Annotated[
        float | None, typer.Option(*RATE, help="Learning rate; by default 0.05, or what the other optimizer has.")
    ] = None,
    momentum: Annotated[float, typer.Option(help="Of our own gradient descent.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Pulls the weights toward 0.")] = 0.0,
    schedule: Annotated[
        str, typer.Option(help=f"The learning rate over time: {', '.join(SCHEDULES)}; all but the first end at 0.")
    ] = "constant",
    loss: LossName = None,
    label_smoothing: Annotated[float, typer.Option(help="0…1, for classes.")] = 0.0,
    class_weights: Annotated[
        str | None,
        typer.Option(help="How much examples of each class count: balanced, or numbers, such as 1,16."),
    ] = None,
    augment: Annotated[
        str, typer.Option(help="Random changes of pictures: flip,shift:4,rotate:10,zoom:0.1,color:0.2,cutout:8.")
    ] = "",
    average: Annotated[
        float | None, typer.Option(help="Keep a running average of the weights with this decay, such as 0.999.")
    ] = None,
    test_fraction: Annotated[float, typer.Option(help="Share held out to test, if DATA has no test part.")] = 0.2,
    validation_fraction: Annotated[
        float, typer.Option(help="Share of the rest to validate on, if DATA has no such part.")
    ] = 0.1,
    patience: Annotated[int | None, typer.Option(help="Stop when so many epochs brought nothing better.")] = None,
    freeze: Annotated[
        str | None,
        typer.Option(help="Leave the network as it is up to this layer; all: up to its last layer with weights."),
    ] = None,
    finds_rate: Annotated[
        bool, typer.Option("--find-rate", help="Look for a good learning rate, draw the curve, and train nothing.")
    ] = False,
    size: Annotated[
        str | None,
        typer.Option(help="Bring all pictures to this size, such as 224 or 320x240 (width x height)."),
    ] = None,
    preprocessing: PreprocessingOption = None,
    crop: CropLearned = None,
    skip_unreadable: SkipUnreadable = False,
    channels: Annotated[int | None, typer.Option(help="Take all pictures as gray (1) or in color (3).")] = None,
    drop: Annotated[
        list[str] | None, typer.Option(rich_help_panel=TABLES, help="A column to leave out; once for each.")
    ] = None,
    text: Annotated[list[str] | None, typer.Option(rich_help_panel=TABLES, help="A column to take for words.")] = None,
    number: Annotated[
        list[str] | None,
        typer.Option(rich_help_panel=TABLES, help="A column to take for numbers; what is none counts as missing."),
    ] = None,
    decimal: Annotated[
        str | None,
        typer.Option(rich_help_panel=TABLES, help='point or comma, where nothing shows what "1,234" is.'),
    ] = None,
    header: Annotated[
        bool | None,
        typer.Option("--header/--no-header", rich_help_panel=TABLES, help="Whether the first row holds names."),
    ] = None,
    own_blocks: Blocks = None,
    opaque: OpaqueNodes = False,
    clip: Annotated[float | None, typer.Option(help="Largest common norm of the gradients.")] = None,
    immediate: Annotated[
        bool, typer.Option("--immediate", help="Update each block during the backward sweep: less memory.")
    ] = False,
    sync_batch_norm: Annotated[
        bool,
        typer.Option(
            "--sync-batch-norm",
            help="Under torchrun, batch normalization takes the statistics of all processes' examples.",
        ),
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the checkpoint beside --out.")] = False,
    report: Annotated[Path | None, typer.Option(help="A folder for a page about the result.")] = None,
    log: Annotated[Path | None, typer.Option(help="A .csv file that gets a line for each epoch.")] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    as_json: Json = False,
) -> None:
    """Train a network on data, test it, and save it."""
    from blockprop.commands.columns import column_facts, show_columns
    from blockprop.commands.inputs import device_named, sight_for
    from blockprop.commands.losses import class_weights_named, loss_for, task_of, told
    from blockprop.commands.measuring import facts_of, measured, show_measures
    from blockprop.commands.optimizers import optimizer_named, scheduler_named
    from blockprop.commands.rates import careful_rate, draw_rates, told_of
    from blockprop.commands.sources import held_out_of, name_of
    from blockprop.commands.starting import StartingPoint, check_parts, frozen_layer
    from blockprop.commands.training_page import write_training_page
    from blockprop.commands.units import in_units, in_words, with_units, without_units
    from blockprop.pictures.framing import rule_in_words
    from blockprop.saving.files import require_writable
    from blockprop.saving.storage import require_place
    from blockprop.training.augmentation import augmentations
    from blockprop.training.batches import batch_sizes
    from blockprop.training.fit import fit

    if not is_first():
        set_loudness(Loudness.QUIET)
    out = place(out, resume)
    report = report and place(report)
    log = log if resume or log is None else place(log)
    require_place(out)
    for path in filter(None, (report and report / "index.html", log)):
        require_writable(path)
    if resume and not checkpoint_beside(out).exists():
        raise SettingError(f"there is no checkpoint {checkpoint_beside(out)} to go on from; leave out --resume")
    start = StartingPoint.of(network, own_blocks, size, channels, preprocessing, crop, opaque)
    wishes = {"drop": drop or (), "text": text or (), "number": number or (), "decimal": decimal, "header": header}
    wishes |= {"skip_unreadable": skip_unreadable}
    share, split_seed = start.held_out(data, test_fraction, seed)
    parts = start.read(data, target, test_fraction=share, seed=split_seed, task=task_of(loss), warn=False, **wishes)
    say_all(parts.notes, as_json)
    check_parts(parts, test_fraction)
    training, validation = parts.train, parts.validation
    if validation is None and validation_fraction:
        training, validation = parts.train.split(validation_fraction, seed, "validation_fraction")
    begun, new_layer = start.network_for(training, seed)
    learned = start.saved is not None and new_layer is None
    net, units = without_units(begun.to(device_named(own_device(device))), training, loss, learned)
    objective = loss_for(training, loss, label_smoothing, class_weights_named(class_weights, training))
    if told_of_units := in_words(units, training):
        say(told_of_units, as_json)
    ways: dict[str, Any] = {
        "batch_size": batch_size,
        "accumulate": accumulate,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "optimizer": optimizer_named(optimizer, rate, weight_decay),
        "clip": clip,
        "augment": augmentations(augment),
        "freeze": frozen_layer(net, freeze),
        "seed": seed,
    }
    if finds_rate:
        if is_first():
            show(draw_rates(net, in_units(training, units), objective, ways, out), as_json)
        return
    if rate is None and new_layer is not None and optimizer == "descent":
        rate = careful_rate(net, in_units(training, units), objective, ways)
    records = fit(
        net,
        in_units(training, units),
        objective,
        epochs=epochs,
        rate=0.05 if rate is None else rate,
        scheduler=scheduler_named(schedule, epochs * len(batch_sizes(len(training), batch_size * accumulate))),
        schedule="step",
        validation=in_units(validation, units) if validation else None,
        patience=patience,
        immediate=immediate or None,
        average=average,
        sync_batch_norm=sync_batch_norm,
        checkpoint=checkpoint_beside(out),
        resume=resume,
        **ways,
    )
    if not is_first():  # the first process says and writes what all have computed
        with closing(records):
            records.finish()
        return
    net.meta |= {"classes": list(training.classes or ()), "data": name_of(data), "target": target}
    net.meta |= {"held_out": held_out_of(data, share, split_seed), "loss": told(objective)}
    if parts.encoder is not None:
        net.meta["encoder"] = parts.encoder.to_dict()
    net = with_units(net, units)  # shares its blocks, so that training changes it, too
    counts = [f"{len(part)} {use}" for part, use in ((training, "to train on"), (validation, "to validate")) if part]
    learns = f"{objective!r}, {optimizer}, on {device}; {len(net.nodes)} nodes; steps by {records.by}"
    explain(f"{', '.join(counts)}; {learns}", as_json)
    if parts.encoder is not None and not (as_json or is_quiet()):
        show_columns(parts.encoder)
        print()
    done = _run(records, net, out, log, resume, as_json)
    test_loss, quality = measured(net, parts.test, objective, as_json)
    result = _result(done, out, len(training)) | told_of(records, new_layer)
    result |= {"seen": rule_in_words(seen)} if (seen := sight_for(net, data)) else {}
    if parts.test is not None:
        result |= {"test_examples": len(parts.test), "test_loss": test_loss}
    result |= facts_of(quality, with_parts=as_json)
    if as_json:
        result |= {"columns": column_facts(parts.encoder)} if parts.encoder else {}
        result |= {"notes": spoken(parts.notes), "steps_by": records.by}
    if report is not None:
        result |= write_training_page(report, net, done, parts.test, training, objective, quality, result)
    show_measures(result, quality, as_json)


def _result(done: list[Record], out: Path, count: int) -> dict[str, Any]:
    """What the command prints of the training: files, sizes, time, and the loss of the last epoch."""
    result: dict[str, Any] = {
        "network": str(out),
        "checkpoint": str(checkpoint_beside(out)),
        "training_examples": count,
    }
    if done:
        result |= {"steps": done[-1].step, "seconds": done[-1].seconds}
        result["training_loss_last_epoch"] = done[-1].training_value
    return result


def _run(records: Any, network: Network, out: Path, log: Path | None, resume: bool, quiet: bool) -> list[Record]:
    """Train to the end and save; at Ctrl-C save what there is, and say how to go on."""
    from blockprop.commands.epoch_log import EpochLog
    from blockprop.saving.storage import save

    if log is not None:
        records.observe(EpochLog(log, resume))
    try:
        with closing(records):
            done = list(watched("Training", quiet)(records))
    except KeyboardInterrupt:
        save(network, out)
        goes_on = "; the same command with --resume goes on" if checkpoint_beside(out).exists() else ""
        say(f"stopped: {out} holds the network as it is now{goes_on}")
        raise
    save(network, out)
    return done


def checkpoint_beside(path: Path) -> Path:
    """Where training keeps its checkpoint while it makes the network at `path`."""
    return path.with_name(path.name + ".checkpoint")
