"""Whether the state in a checkpoint can be that of a training run."""

from collections.abc import Mapping
from typing import Any

from blockprop.errors import FormatError
from blockprop.saving.states import require_count, require_like, require_optimizer


def require_fitting(state: Mapping[str, Any], fresh: Mapping[str, Any], optimizer: Any, batches: int) -> None:
    """FormatError unless it is what the run that begins with `fresh` would have written.

    optimizer: that of the run.   batches: in an epoch.
    """
    require_like(state["network"], fresh["network"], "network")
    require_like(state["best"], None if state["best"] is None else fresh["network"], "best network")
    require_like(state["generators"], fresh["generators"], "generators of random numbers")
    require_like(state["averages"], fresh["averages"], "averages")
    require_like(state["mean"], fresh["mean"], "mean of the epoch")
    require_like(state["stopping"], [0.0, 0], "best value so far")
    require_count(state["stopping"][1], "epochs that were no better")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    require_optimizer(state["optimizer"], fresh["optimizer"], parameters)
    require_like(state["scheduler"], fresh["scheduler"], "schedule")
    require_like(state["progress"], [0, 1, 0, 0.0], "progress")
    step, epoch, position, _ = state["progress"]
    require_count(epoch, "epoch", 1)
    require_count(position, "batches of the epoch", 0, batches - 1)
    if step != (epoch - 1) * batches + position:
        raise FormatError(f"progress: {step} steps are not {epoch - 1} epochs of {batches} steps and {position}")
