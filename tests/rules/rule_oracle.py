"""A second opinion on backward rules: torch's autograd, with every spelling of ReLU replaced as the module runs."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Guided(torch.autograd.Function):
    """Springenberg et al. 2014, figure 1 b."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, high: float) -> Tensor:
        ctx.save_for_backward(x.clone())  # it may be overwritten with the result
        ctx.high = high
        return x.clamp(0, high)

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        passes = (x > 0) & (x < ctx.high) & (d_y > 0)
        return torch.where(passes, d_y, 0), None


class Deconvnet(Guided):
    """Zeiler and Fergus 2013, section 2.1: the error, rectified."""

    @staticmethod
    def backward(_ctx: Any, d_y: Tensor) -> tuple[Tensor, None]:
        return torch.where(d_y > 0, d_y, 0), None


class Redirected(Guided):
    """lucid's redirected ReLU, for an ascent: where an example has no gradient at all, what would open its ReLUs."""

    @staticmethod
    def backward(ctx: Any, d_y: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        rows = []
        for row, d_row in zip(x, d_y, strict=True):
            d = torch.where((row > 0) & (row < ctx.high), d_row, 0)
            towards = torch.where(row <= 0, 1.0, -1.0)  # the side on which the ReLU is open
            rows.append(d if d.any() else torch.where(d_row * towards > 0, d_row, 0))
        return torch.stack(rows), None


ORACLES = {"guided": Guided, "deconvnet": Deconvnet, "redirected": Redirected}
"""Of every named rule."""


def _is_zero(value: Any) -> bool:
    return isinstance(value, int | float | Tensor) and bool((torch.as_tensor(value) == 0).all())


def _inside(x: Tensor, low: Any = None, high: Any = None, **names: Any) -> tuple[Any, ...] | None:
    """clamp(x, 0, high)."""
    low, high = names.get("min", names.get("min_val", low)), names.get("max", names.get("max_val", high))
    return (x, float("inf") if high is None else high) if low is not None and _is_zero(low) else None


def _plain(x: Tensor, *_rest: Any, **_names: Any) -> tuple[Any, ...]:
    return x, float("inf")


def _threshold(x: Tensor, threshold: float, value: float, *_rest: Any, **_names: Any) -> tuple[Any, ...] | None:
    return _plain(x) if threshold == value == 0 else None


def _maximum(x: Tensor, other: Any = None, *_rest: Any) -> tuple[Any, ...] | None:
    return _plain(x) if isinstance(other, Tensor) and not other.requires_grad and _is_zero(other) else None


def _where(condition: Tensor, x: Any = None, other: Any = None) -> tuple[Any, ...] | None:
    chosen = isinstance(x, Tensor) and _is_zero(other) and torch.equal(condition, x > 0)
    return _plain(x) if chosen else None


def _product(x: Any, mask: Any) -> tuple[Any, ...] | None:
    masked = isinstance(x, Tensor) and isinstance(mask, Tensor) and not mask.requires_grad
    return _plain(x) if masked and mask.shape == x.shape and torch.equal(mask.bool(), x > 0) else None


def _filled(x: Tensor, mask: Tensor, value: Any) -> tuple[Any, ...] | None:
    negative = isinstance(mask, Tensor) and _is_zero(value) and torch.equal(mask, x < 0)
    return _plain(x) if negative else None


def _leaky(x: Tensor, negative_slope: float = 0.01, *_rest: Any, **_names: Any) -> tuple[Any, ...] | None:
    return _plain(x) if negative_slope == 0 else None


def _six(x: Tensor, *_rest: Any, **_names: Any) -> tuple[Any, ...]:
    return x, 6.0


READERS: dict[str, Callable[..., tuple[Any, ...] | None]] = {
    **dict.fromkeys(("relu", "relu_"), _plain),
    **dict.fromkeys(("clamp", "clamp_", "clip", "clip_", "clamp_min", "clamp_min_", "hardtanh"), _inside),
    **dict.fromkeys(("threshold", "_threshold", "threshold_"), _threshold),
    **dict.fromkeys(("maximum", "max"), _maximum),
    **dict.fromkeys(("where",), _where),
    **dict.fromkeys(("mul", "__mul__"), _product),
    **dict.fromkeys(("masked_fill", "masked_fill_", "__setitem__"), _filled),
    **dict.fromkeys(("leaky_relu",), _leaky),
    **dict.fromkeys(("relu6",), _six),
}
"""By the name of torch's function: whether a call is a ReLU, and then (x, upper bound)."""


class EverySpelling(TorchFunctionMode):
    """Puts one function in place of each ReLU, whatever it is called."""

    def __init__(self, replacement: type[torch.autograd.Function]):
        super().__init__()
        self.replacement, self.count = replacement, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None) -> Any:
        kwargs = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        reader = READERS.get(name)
        found = reader(*args, **kwargs) if reader else None
        if found is None:
            return func(*args, **kwargs)
        self.count += 1
        y = self.replacement.apply(*found)
        in_place = kwargs.get("inplace") or name.endswith("_") or (any(each is True for each in args))
        return found[0].copy_(y) if in_place else y


def gradient(
    module: nn.Module,
    x: Tensor,
    score: Callable[[Tensor], Tensor],
    replacement: type[torch.autograd.Function] | None = None,
) -> tuple[Tensor, int]:
    """∂score/∂x by autograd, and how many ReLUs were replaced on the way."""
    x = x.clone().requires_grad_()
    if replacement is None:
        return torch.autograd.grad(score(module(x)), x)[0], 0
    with EverySpelling(replacement) as mode:
        total = score(module(x))
    return torch.autograd.grad(total, x)[0], mode.count


__all__ = ["ORACLES", "gradient"]
