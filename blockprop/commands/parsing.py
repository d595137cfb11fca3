"""Texts of the command line as values: shapes, blocks, sizes, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blockprop.commands.choices import MOST_PIXELS
from blockprop.errors import SettingError

if TYPE_CHECKING:
    from blockprop.visualize.objectives.scores import Target


DIGITS = 18
"""Of a count, at most; no machine has more of anything."""
DEFAULT_SIDE = 256


def shape_named(text: str) -> tuple[int, ...]:
    """ "2,3,8" as (2, 3, 8); SettingError for anything else."""
    try:
        shape = tuple(int(part) for part in text.split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise SettingError(f"expected a shape such as 2,3,8,8, came {text!r}")
    return shape


def weighted(targets: Sequence[str]) -> Target:
    """["goose", "fire5:17=-0.5"] as {"goose": 1, "fire5:17": -0.5}; a single one without a weight as itself."""
    if len(targets) == 1 and "=" not in targets[0]:
        return targets[0]
    weights: dict[str, float] = {}
    for text in targets:
        name, equals, weight = text.rpartition("=")
        try:
            name, number = (name, float(weight)) if equals else (text, 1.0)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise SettingError(f"expected a name, or name=weight such as {name or 'goose'}=0.5, came {text!r}")
        weights[name] = weights.get(name, 0.0) + number
    return weights


def constants_named(texts: Sequence[str]) -> dict[str, Any]:
    """["training=false", "mean=104,117,123", "k=k.npy"] as values by name: one alone is a number, several a list."""
    constants: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not name or not equals or not value:
            raise SettingError(f"expected name=value such as training=false, came {text!r}")
        constants[name] = _array_in(value) if value.endswith(".npy") else _numbers_in(value)
    return constants


def _array_in(path: str) -> Any:
    import numpy as np

    from blockprop.saving.files import short

    try:
        array = np.load(path, allow_pickle=False)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
            raise SettingError(f"{path}: expected a .npy file with an array of numbers")
        return array
    except SettingError:
        raise
    except Exception as error:  # numpy reads the head as Python's tokens, which fails in many ways
        raise SettingError(f"{path}: expected a readable .npy file ({short(error)})") from None


def _numbers_in(text: str) -> Any:
    words: dict[str, Any] = {"true": True, "false": False}
    try:
        numbers = [words[part] if part in words else float(part) for part in text.lower().split(",") if part]
    except ValueError:
        raise SettingError(f"expected numbers, true, false or an .npy file, came {text!r}") from None
    numbers = [int(n) if isinstance(n, float) and n.is_integer() else n for n in numbers]
    return numbers if "," in text else numbers[0]


def layers_named(texts: Sequence[str] | None) -> Any:
    """Layers by name, or with weights; None if nothing is said."""
    return weighted(texts) if texts else None


def size_named(text: str | None) -> tuple[int, int] | None:
    """ "320x240" as (240, 320), height first; "224" as (224, 224)."""
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) > 2 or not all(map(_is_count, parts)):
        raise SettingError(f"expected a size such as 224 or 320x240 (width x height), came {text[:DIGITS]!r}")
    width, height = int(parts[0]), int(parts[-1])
    if width * height > MOST_PIXELS:
        raise SettingError(f"{text} are more than the {MOST_PIXELS:,} pixels that a picture may have")
    return height, width


def pixels_named(text: str | None) -> int:
    """How many pixels a size is; those of what a network sees, about, if it does not say."""
    return math.prod(size_named(text) or (DEFAULT_SIDE, DEFAULT_SIDE))


def grid_named(text: str | None) -> tuple[int, int] | None:
    """ "14,14" as (14, 14), height first."""
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) != 2 or not all(map(_is_count, parts)):
        raise SettingError(f"expected a grid such as 14,14 (height, width in places), came {text[:DIGITS]!r}")
    return int(parts[0]), int(parts[1])


def _is_count(text: str) -> bool:
    """Whether it is a whole number above 0."""
    return text.strip().isdecimal() and len(text.strip()) <= DIGITS and int(text) > 0


def file_name(targets: Sequence[str]) -> str:
    """A name of letters, digits and underscores for a picture of these targets."""
    text = "_and_".join(targets[:3])
    return "".join(c if c.isalnum() or c in "-." else "_" for c in text).strip("_.")[:60] or "picture"


def style_weight_of(text: str) -> tuple[str, float]:
    """ "wave.jpg=2" as ("wave.jpg", 2.0); a file's own name may hold "="."""
    name, equals, weight = text.rpartition("=")
    if not equals or Path(text).exists():
        return text, 1.0
    try:
        if name:
            return name, float(weight)
        raise ValueError(text)
    except ValueError:
        raise SettingError(f"expected a picture, or picture=weight such as wave.jpg=2, came {text!r}") from None
