"""What normalizations do in the mode that is not imported: evaluation of a module in training, and the other way.

torch.export sees one mode. nn.BatchNorm2d usually changes with it, F.batch_norm(…, training=False) never does: the
module is tried in the other one.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext, suppress
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.overrides import TorchFunctionMode

from blockprop.errors import UnsupportedError
from blockprop.importers.torch.copying import independent
from blockprop.importers.torch.twin import Twin

_FLAGS: dict[Any, tuple[str, int]] = {F.batch_norm: ("training", 5), F.instance_norm: ("use_input_stats", 5)}
"""The argument that says whether mean and variance are the input's: its name and its place."""
_DEFAULTS = {F.batch_norm: False, F.instance_norm: True}


class OtherMode:
    """training: the mode that is imported, so that this is the other one."""

    def __init__(self, module: nn.Module, training: bool, inputs: Sequence[Tensor], names: Sequence[str]):
        self._module, self._training, self._inputs, self._names = module, training, inputs, names

    def by_input(self, running_mean: str) -> bool | None:
        """Whether a call that is given this buffer takes the input's own statistics there; None if it is not known."""
        part = dict(self._module.named_modules()).get(running_mean.rpartition(".")[0])
        usual = not self._training if isinstance(part, _NormBase) else None
        return self._calls.get(running_mean, usual)

    @cached_property
    def _calls(self) -> dict[str, bool]:
        twin = Twin(self._module, not self._training)
        for numbers in (False, True):  # with them only where a module looks at them
            with suppress(Exception):  # whatever a module does in a mode that nobody asked for
                return self._calls_of(twin, numbers)
        return {}

    def _calls_of(self, twin: Twin, numbers: bool) -> dict[str, bool]:
        count = len(self._inputs) - len(self._names)
        with twin.fresh(numbers) as shared, torch.no_grad(), nullcontext() if numbers else torch.device("meta"):
            module = independent(shared) if numbers else shared
            copies = [x.clone() if numbers else x.to("meta") for x in self._inputs]
            recorder = _Recorder({id(buffer): name for name, buffer in module.named_buffers()})
            with recorder:
                module(*copies[:count], **dict(zip(self._names, copies[count:], strict=True)))
        return recorder.calls


def left_out(module: nn.Module) -> list[str]:
    """What the module does in training alone, and the network never does, in words."""
    kinds = (nn.AlphaDropout, nn.FeatureAlphaDropout)
    notes = []
    for name, part in module.named_modules():
        title = f"{name or 'the module'!r} ({type(part).__name__})"
        if isinstance(part, kinds) and part.p > 0:
            notes.append(f"{title} drops nothing when the network is trained: this kind of dropout has no block")
        if isinstance(part, _SpectralNorm) or any(
            isinstance(h, SpectralNorm) for h in part._forward_pre_hooks.values()
        ):
            notes.append(f"{title}: the iteration of its spectral norm stands still when the network is trained")
    return notes


def require_right(module: nn.Module) -> None:
    """UnsupportedError for a part whose numbers in torch are not those of its formula."""
    for name, part in module.named_modules():
        if isinstance(part, nn.CrossMapLRN2d):
            raise UnsupportedError(
                f"{name or 'the module'!r} (CrossMapLRN2d): in torch's own sum of squares channel 0 never leaves the "
                "window; nn.LocalResponseNorm computes the formula, and is imported"
            )


class _Recorder(TorchFunctionMode):
    """Notes the calls, and hands their input on: numbers do not matter, and some batches are too small to have any."""

    def __init__(self, names: Mapping[int, str]):
        super().__init__()
        self.names, self.calls = names, dict[str, bool]()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func not in _FLAGS:
            return func(*args, **kwargs)
        name, place = _FLAGS[func]
        flag = kwargs.get(name, args[place] if len(args) > place else _DEFAULTS[func])
        mean = kwargs.get("running_mean", args[1] if len(args) > 1 else None)
        if isinstance(mean, Tensor) and id(mean) in self.names:
            self.calls[self.names[id(mean)]] = bool(flag)
        return (kwargs["input"] if "input" in kwargs else args[0]).clone()
