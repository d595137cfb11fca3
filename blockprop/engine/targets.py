"""How a loss reads its target: as a distribution over the classes, or as numbers in the shape of the output."""

import torch
from torch import Tensor

from blockprop.errors import SettingError, ShapeError


def class_shares(y: Tensor, target: Tensor, class_weights: Tensor | None, label_smoothing: float) -> Tensor:
    """t / n, the share of each class in the loss, in the shape of y; see `cross_entropy` for t and n.

    y: (n, classes, …)   target: class numbers (n, …), or distributions of y's shape
    Raises ShapeError for targets of another shape or outside 0…classes − 1.
    """
    classes = y.shape[1]
    if target.shape == y.shape and target.is_floating_point():
        t = target.to(y.dtype)
    else:
        if target.shape != y.shape[:1] + y.shape[2:] or target.is_floating_point():
            raise target_error(y, target)
        if target.numel() and not 0 <= int(target.min()) <= int(target.max()) < classes:
            raise target_error(y, target)
        t = torch.zeros_like(y).scatter_(1, target.long().unsqueeze(1), 1.0)
    # float16 would overflow at 65,504 examples or positions
    total = torch.tensor(float(y.numel() // classes), device=y.device)
    t = (1 - label_smoothing) * t + label_smoothing / classes if label_smoothing else t
    if class_weights is not None:
        if len(class_weights) != classes:
            raise ShapeError(f"expected a weight for each of {classes} classes, came {len(class_weights)}")
        weights = class_weights.to(y)
        t = t * weights.view(-1, *[1] * (y.dim() - 2))
        if not target.is_floating_point():
            total = weights.double()[target.long()].sum()
    # where no example counts, what smoothing adds stands undivided: over a total of 0 it would be without bound
    return (t / torch.where(total > 0, total.clamp_min(torch.finfo(torch.float32).tiny), 1.0)).to(y.dtype)


def class_weight(target: Tensor, class_weights: Tensor | None) -> float:
    """The weights of the examples' classes added up; their number without weights, and for distributions as targets."""
    if class_weights is None or target.is_floating_point():
        return float(len(target))
    return float(class_weights.to(target.device).double()[target.long()].sum())


def share_times(shares: Tensor, logarithms: Tensor) -> Tensor:
    """share · logarithm, and 0 where there is no share, even of −∞."""
    return (shares * logarithms).masked_fill_(shares == 0, 0)


def matching(y: Tensor, target: Tensor) -> Tensor:
    """The target as y's type of number, in y's shape; (n,) stands for (n, 1). Nothing is broadcast."""
    if target.shape == y.shape:
        return target.to(y.dtype)
    if y.shape == (*target.shape, 1):
        return target.unsqueeze(-1).to(y.dtype)
    raise ShapeError(f"the target is {tuple(target.shape)}, the output {tuple(y.shape)}; they must have the same shape")


def require_classes(class_weights: Tensor | None, label_smoothing: float) -> None:
    """Raise SettingError unless they can be weights of classes, or None, and a share of 0…1."""
    if not 0 <= label_smoothing < 1:
        raise SettingError(f"label_smoothing must lie in 0…1, not {label_smoothing}")
    if class_weights is None:
        return
    if not isinstance(class_weights, Tensor) or class_weights.dim() != 1:
        raise SettingError(
            "class_weights: expected a tensor with a weight for each class, such as balanced_weights(train), "
            f"came {class_weights!r}"
        )
    if not bool((class_weights >= 0).all() & class_weights.isfinite().all()):
        raise SettingError(f"class_weights must be finite and at least 0, came {class_weights.tolist()}")


def target_error(y: Tensor, target: Tensor) -> ShapeError:
    """The error for a target that holds no classes of y's."""
    wanted = f"one class number 0…{y.shape[1] - 1} for each of {y.shape[0]} examples"
    came = f"{target.dtype} of shape {tuple(target.shape)}"
    if target.numel() and not target.is_floating_point():
        came += f" with numbers {int(target.min())}…{int(target.max())}"
    return ShapeError(f"expected as target {wanted}; came {came}")
