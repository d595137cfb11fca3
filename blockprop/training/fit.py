"""Training: batches → forward → objective → backward → update, as a generator of records.

    for record in fit(network, (x, y), cross_entropy(), epochs=10, rate=0.1):
        print(record.step, record.value)

The loop prints, draws and saves nothing but the checkpoint that it is asked for.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.objectives import Objective
from blockprop.errors import SettingError
from blockprop.saving.checkpoints import read_checkpoint
from blockprop.saving.files import require_writable
from blockprop.training.augmentation import Augmentation, augmented
from blockprop.training.averaging import Averages
from blockprop.training.descent import GradientDescent
from blockprop.training.evaluation import Data, evaluate, pair
from blockprop.training.run import Record, Run, Stopping


def fit(
    network: Network,
    data: Data,
    objective: Objective,
    *,
    epochs: int = 10,
    batch_size: int = 64,
    rate: float = 0.1,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    optimizer: torch.optim.Optimizer | Callable[[list[Tensor]], torch.optim.Optimizer] | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = None,
    schedule: str = "epoch",
    validation: Data | None = None,
    patience: int | None = None,
    clip: float | None = None,
    immediate: bool | None = None,
    augment: Sequence[Augmentation] = (),
    average: float | None = None,
    wrt: str | Iterable[str] = "parameters",
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    resume: bool = False,
) -> Iterator[Record]:
    """Minimize the objective over the data by gradient descent on mini-batches; yield a Record after each step.

    data, validation: a Dataset, or (x, y) with one example a row. Each epoch takes the examples in a new order, which
        depends on the seed alone. A last batch of a single example joins the one before it.
    rate, momentum, weight_decay: of the gradient descent W ← W − μ V, see GradientDescent.
    optimizer: another one in its place: any of torch.optim over `network.parameters.values()`, or a function that
        makes one from the list of parameters.
    scheduler: a function that makes a scheduler of torch.optim.lr_scheduler from the optimizer, stepped every
        "epoch" or "step" (`schedule`).
    patience: stop when the validation value has not got better for so many epochs, and go back to the best weights.
    clip: scale the gradients down to this norm if their common norm is larger.
    immediate: update each block as soon as its gradient is known during the backward sweep, so that only one block's
        gradient exists at a time: the same weights, bit for bit, and less memory. By default so for our own gradient
        descent without clipping, unless the network is so small that one update of all is quicker.
    augment: random changes of pictures, such as augmentations("flip,shift:4"); they depend on the seed alone.
    average: the decay of a running average of the weights (0.999, say), see Averages. It is what validation sees and
        what the network has in the end.
    wrt: the parameters to train; the others stay fixed, and nothing is computed for them.
    checkpoint: a file written atomically after every epoch, every `checkpoint_seconds`, at Ctrl-C and at the end.
    resume: go on from the checkpoint if it exists; the weights become bit for bit those of an uninterrupted run.

    A step of a small dense network runs on one thread, whatever torch is set to: two would wait for each other.

    Raises NotFiniteError with the step and the block at a NaN or infinity, ShapeError for data that do not fit,
    SettingError for settings that make no sense, FormatError for a checkpoint of another network or data set.
    """
    x, y = pair(data)
    if not isinstance(objective, Objective):
        raise SettingError(f"expected an objective such as cross_entropy(), came {objective!r}")
    for name, number in {"epochs": epochs, "batch_size": batch_size, "patience": patience}.items():
        if number is not None and (not isinstance(number, int) or number < 1):
            raise SettingError(f"{name} must be a whole number of at least 1, came {number!r}")
    if clip is not None and not clip > 0:
        raise SettingError(f"clip must be above 0, came {clip}")
    if clip is not None and immediate:
        raise SettingError("clip needs all gradients at once, so it does not go with immediate")
    if patience is not None and validation is None:
        raise SettingError("patience needs validation data")
    if schedule not in ("epoch", "step"):
        raise SettingError(f"schedule must be 'epoch' or 'step', not {schedule!r}")
    if resume and checkpoint is None:
        raise SettingError("resume needs the path of a checkpoint")
    if optimizer is None:
        optimizer = GradientDescent(network.parameters.values(), rate, momentum, weight_decay)
    elif not isinstance(optimizer, torch.optim.Optimizer):
        if not callable(optimizer):
            raise SettingError(
                f"expected an optimizer or a function that makes one (torch.optim.Adam), came {optimizer!r}"
            )
        optimizer = optimizer(list(network.parameters.values()))
    if isinstance(optimizer, torch.optim.LBFGS):
        raise SettingError("LBFGS evaluates the objective several times a step, which training on batches does not do")
    run = Run(network, (x, y), objective, optimizer, (epochs, batch_size, seed))
    run.scheduler = scheduler(optimizer) if scheduler else None
    run.schedule, run.clip, run.augment = schedule, clip, tuple(augment)
    run.averages = None if average is None else Averages(network.state, average)
    run.immediate = run.own and clip is None and not run.small if immediate is None else immediate
    run.validation, run.stopping = (None if validation is None else pair(validation)), Stopping(patience)
    run.wanted = _trainable(network, wrt, optimizer)
    if schedule == "step" and isinstance(run.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
        raise SettingError('ReduceLROnPlateau looks at the epoch\'s value: use schedule="epoch"')
    if run.augment:
        augmented(x[:2], run.augment, seed, 0)
    if run.validation is not None:  # better now than after the first epoch
        evaluate(network, (run.validation[0][:2], run.validation[1][:2]), objective)
    if checkpoint is not None:
        require_writable(checkpoint)
    run.checkpoint, run.checkpoint_seconds = checkpoint, checkpoint_seconds
    if resume and checkpoint is not None and os.path.exists(checkpoint):
        run.restore(read_checkpoint(checkpoint))
    return run.records()


def _trainable(network: Network, wrt: str | Iterable[str], optimizer: torch.optim.Optimizer) -> tuple[str, ...]:
    """The parameters in `wrt` that the optimizer knows; SettingError if there are none, or other things among them."""
    parameters, known = network.parameters, {id(p) for group in optimizer.param_groups for p in group["params"]}
    wanted = network.wanted(wrt)
    for name in wanted:
        if name not in parameters:
            raise SettingError(
                f"only parameters can be trained, and {name!r} is none; there are {', '.join(parameters)}"
            )
    wanted = tuple(name for name in wanted if id(parameters[name]) in known)
    if not wanted:
        raise SettingError("there is nothing to train: wrt and the optimizer share no parameter of the network")
    return wanted
