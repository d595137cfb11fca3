"""What a network wants a picture to be, as settings; and the small files that say so.

{"size": 227, "range": 255, "mean": [104, 117, 123], "channels": "BGR", "classes": "imagenet_classes.txt"}
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Self

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.errors import FormatError, SettingError, suggestion
from blockprop.pictures.image_files import MOST_PIXELS
from blockprop.saving.files import LARGEST_DOCUMENT, StrPath, kind_of, naming, read_document, short, small_text
from blockprop.saving.toml_text import parse_toml

MARGIN = 256 / 224
"""How much larger than the part that the network sees a photograph is made (Krizhevsky et al. 2012, section 4.1)."""
LARGEST_NUMBER = 1e30
"""Numbers stay below this, so that float32 can hold what comes out."""
CHANNELS = {"RGB": 3, "BGR": 3, "gray": 1}
"""The orders of channels that a network may want, and how many they are."""

CROPS = ("center", "stretch")
"""How a photograph of another shape is brought to the size."""

PerChannel = float | Sequence[float]


@dataclass(frozen=True)
class Preprocessing:
    """What a network was made for:  its input = (range · picture − mean) / scale,  for a picture in 0…1.

    size: (h, w), or one number for both; None if any will do.
    range: what white is to the network, usually 1 or 255.
    mean, scale: one number, or one for each channel, in the network's own order of channels.
    channels: that order, "RGB" or "BGR", or "gray".
    shorter_side: a photograph is scaled so that its shorter side (for an oblong size: the size's) has so many pixels,
        then its center is cut out. By default size · 256/224, and a photograph that has the size already stays.
    crop: "center", or "stretch" for all of a photograph in the size, whatever its proportions.
    Raises SettingError for anything else.
    """

    size: int | tuple[int, int] | None = None
    range: float = 1.0
    mean: PerChannel = 0.0
    scale: PerChannel = 1.0
    channels: str = "RGB"
    shorter_side: int | None = None
    crop: str = "center"

    def __post_init__(self) -> None:
        if not isinstance(self.channels, str) or self.channels not in CHANNELS:
            raise SettingError(f"channels: expected one of {', '.join(CHANNELS)}, came {self.channels!r}")
        if self.crop not in CROPS:
            raise SettingError(f"crop: expected one of {', '.join(CROPS)}, came {self.crop!r}")
        object.__setattr__(self, "size", _checked_size(self.size))
        for name in ("mean", "scale"):
            object.__setattr__(self, name, _checked_numbers(name, getattr(self, name), self.count))
        if not _is_number(self.range) or self.range <= 0:
            raise SettingError(f"range: expected a number above 0, came {self.range!r}")
        if 0 in _each(self.scale, self.count):
            raise SettingError(f"scale: nothing can be divided by 0, came {self.scale!r}")
        least = min(self.height_width or (1,))
        if self.shorter_side is not None and not (_is_count(self.shorter_side) and self.shorter_side >= least):
            raise SettingError(
                f"shorter_side: expected a whole number of at least {least} pixels, came {self.shorter_side!r}"
            )

    @classmethod
    def from_dict(cls, settings: Any, others: Sequence[str] = ()) -> Self:
        """What `to_dict` made, also after a way through a file. Raises SettingError.

        others: names that are allowed, but mean something else.
        """
        if not isinstance(settings, Mapping):
            raise SettingError(f"expected settings by name, came {kind_of(settings)}")
        names = [field.name for field in fields(cls)]
        for name in settings:
            if name not in (*names, *others):
                raise SettingError(f"there is no setting {name!r}{suggestion(name, [*names, *others])}")
        return cls(**{name: value for name, value in settings.items() if name not in others})

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain data; older versions know no crop, and need none if it is the usual one."""
        settings = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {name: v for name, v in settings.items() if (name, v) != ("crop", CROPS[0])}

    @property
    def count(self) -> int:
        """How many channels the picture has."""
        return CHANNELS[self.channels]

    @property
    def height_width(self) -> tuple[int, int] | None:
        """The size as a pair."""
        return self.size if isinstance(self.size, tuple) or self.size is None else (self.size, self.size)

    @property
    def reading_side(self) -> int | None:
        """What a photograph's shorter side is brought to; None if it stays as it is."""
        if self.shorter_side is not None or self.height_width is None:
            return self.shorter_side
        return round(min(self.height_width) * MARGIN)

    def in_size(self, size: tuple[int, int]) -> Self:
        """The same part of a photograph, in another size."""
        side = round((self.reading_side or min(size)) * min(size) / min(self.height_width or size))
        return replace(self, size=size, shorter_side=max(side, min(size)))

    def blocks(self, resized: bool) -> dict[str, Block]:
        """The blocks that make the network's input out of a picture, by name; none for what changes nothing."""
        front: dict[str, Block] = {}
        if resized and self.height_width:
            front["picture.size"] = blocks.Resize(self.height_width, mode="bilinear")
        if self.channels == "BGR":
            front["picture.channels"] = blocks.ChannelOrder((2, 1, 0))
        mean, scale = _each(self.mean, self.count), _each(self.scale, self.count)
        factor = tuple(self.range / s for s in scale)
        shift = tuple(0.0 - m / s for m, s in zip(mean, scale, strict=True))
        if set(factor) != {1.0} or set(shift) != {0.0}:
            front["picture.scale"] = blocks.Affine(_shortest(factor), _shortest(shift))
        return front


def read_preprocessing(path: StrPath) -> tuple[Preprocessing, list[str] | None]:
    """(preprocessing, class names if it has any) from a .json or .toml file with Preprocessing's arguments.

    classes: a list of names, or the name of a text file beside this one with one name a line.
    Raises FormatError naming the file and the key.
    """
    source = Path(path)
    document = _document(_existing(source))
    with naming(source):
        preprocessing = Preprocessing.from_dict(document, ("classes",))
    classes = document.get("classes")
    if isinstance(classes, str):
        try:
            return preprocessing, read_classes(_inside(source.parent, classes))
        except FormatError as error:
            raise FormatError(f"{path}: classes: {error}") from None
    if classes is not None and not (isinstance(classes, list) and all(isinstance(name, str) for name in classes)):
        raise FormatError(f"{path}: classes: expected a list of names or a text file's name, got {kind_of(classes)}")
    return preprocessing, classes


def _inside(folder: Path, name: str) -> Path:
    """The file of this name in a folder. FormatError if it lies elsewhere: a stranger's file names it."""
    try:
        path = (folder / name).resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise FormatError(f"{short(name)} cannot be the name of a file ({error})") from None
    if not path.is_relative_to(folder.resolve()):
        raise FormatError(
            f"{short(name)} does not lie in its folder; expected a file beside it, or the names themselves"
        )
    return folder / name


def beside(model: StrPath) -> Path | None:
    """The .json or .toml file of the same name beside a network's file, if there is one; FormatError for both."""
    paths = [path for suffix in (".json", ".toml") if (path := Path(model).with_suffix(suffix)).is_file()]
    if len(paths) > 1:
        raise FormatError(f"{paths[0]} and {paths[1]} both stand beside {model}; only one can be right")
    return paths[0] if paths and paths[0] != Path(model) else None


def read_classes(path: StrPath) -> list[str]:
    """Class names from a text file, line n + 1 for class n. Raises FormatError if there are none."""
    source = _existing(Path(path))
    try:
        if source.stat().st_size > LARGEST_DOCUMENT:
            raise FormatError(f"{path}: too large for a list of class names")
        names = [line.strip() for line in source.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: expected text, one class name a line ({error})") from None
    while names and not names[-1]:
        names.pop()
    if not names:
        raise FormatError(f"{path}: expected one class name a line; the file is empty")
    return names


def _existing(path: Path) -> Path:
    if path.is_file():
        return path
    same_kind = [other.name for other in path.parent.glob(f"*{path.suffix}") if other.is_file()]
    near = suggestion(path.name, same_kind) if same_kind else ""
    raise FormatError(f"{path}: there is no such file{near}")


def _document(source: Path) -> Mapping[str, Any]:
    if source.suffix.lower() == ".json":
        return read_document(source)
    if source.suffix.lower() != ".toml":
        raise FormatError(f"{source}: expected a .json or .toml file")
    try:
        return parse_toml(small_text(source))
    except (OSError, ValueError) as error:
        raise FormatError(f"{source}: expected TOML, which this is not ({error})") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < LARGEST_NUMBER


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    pair = tuple(size) if isinstance(size, list | tuple) else (size, size)
    if len(pair) != 2 or not all(map(_is_count, pair)) or pair[0] * pair[1] > MOST_PIXELS:
        raise SettingError(f"size: expected (height, width) in pixels, or one number for both, came {size!r}")
    return pair[0], pair[1]


def _checked_numbers(name: str, value: Any, count: int) -> float | tuple[float, ...]:
    several = isinstance(value, list | tuple)
    if not all(map(_is_number, value if several else (value,))) or (several and len(value) != count):
        raise SettingError(f"{name}: expected one number or {count}, one for each channel, came {value!r}")
    return tuple(value) if several else value


def _each(value: PerChannel, count: int) -> tuple[float, ...]:
    return tuple(value) if isinstance(value, Sequence) else (value,) * count


def _shortest(values: tuple[float, ...]) -> float | tuple[float, ...]:
    return values[0] if len(set(values)) == 1 else values


NAMED = {
    "imagenet": Preprocessing(
        224, mean=(0.485, 0.456, 0.406), scale=(0.229, 0.224, 0.225), shorter_side=256
    ),  # torchvision's
    "caffe": Preprocessing(224, 255.0, (104.0, 117.0, 123.0), channels="BGR", shorter_side=256),
}
"""What many networks expect, by name."""
