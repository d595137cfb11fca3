"""Which part of a photograph a network sees: one rule for all that look at it, and its words.

settings = sight(network)            # the center, in the size that the network was made for
x = read_photo("cat.jpg", settings)
print(in_words(settings, 480, 640))            # the center 224 x 224 of 640 x 480 scaled to 341 x 256
"""

from dataclasses import replace
from pathlib import Path

from blockprop.engine.network import Network
from blockprop.errors import SettingError, suggestion
from blockprop.pictures.preprocessing import Preprocessing
from blockprop.saving.files import naming

CROPS = ("center", "whole", "stretch")
"""What may be asked for."""
WIDEST = "widest"
"""All of it where the network takes any size, else the center: so did commands see it that made pictures before."""
SIDE = 256
"""Pixels of the shorter side of a photograph, for a network that takes any size and names none."""


def preprocessing_of(network: Network) -> Preprocessing | None:
    """The preprocessing that a network brings with it, if it has any. Raises FormatError if a file spoiled it."""
    settings = network.meta.get("picture")
    if settings is None:
        return None
    with naming(Path("the network's meta data, picture")):
        return Preprocessing.from_dict(settings)


def sight(network: Network, crop: str | None = None, side: int | None = None) -> Preprocessing:
    """What the network sees of a photograph, as settings for `read_photo`.

    crop: "center": the photograph is scaled, and the middle of it cut out in the size that the network was made for,
        which is what published accuracies mean; "whole": all of it, if the network takes any size; "stretch": all of
        it in that size, whatever its proportions. By default what it was trained on, or else what its preprocessing
        says: the center, if nothing.
    side: pixels of the shorter side of what it sees, if it takes any size.
    Raises SettingError for a network that takes no pictures, or no other size.
    """
    if crop != WIDEST:
        require_crop(crop)
    expected, any_size = _expected(network), takes_any_size(network)
    if crop is None:
        crop = _trained_on(network)
        crop = None if crop == "whole" and not any_size else crop  # all of them had the one size that it takes
    if not any_size and (side is not None or crop == "whole"):
        height, width = expected.height_width or (0, 0)
        how = "side must be left out" if side is not None else "take crop='center' or crop='stretch'"
        raise SettingError(f"the network takes pictures of {width} x {height} alone, {how}")
    if crop == "whole" or (crop == WIDEST and any_size):
        return replace(expected, size=None, shorter_side=side or expected.reading_side or SIDE, crop="center")
    if side is not None:
        expected = _in_size(expected, side)
    return replace(expected, crop=crop) if crop in ("center", "stretch") else expected


def require_crop(crop: str | None) -> None:
    """SettingError for a crop that is none of CROPS."""
    if crop is not None and crop not in CROPS:
        raise SettingError(f"there is no crop {crop!r}{suggestion(crop, CROPS)}")


def rule_in_words(settings: Preprocessing) -> str:
    """Which part of any photograph is seen, in words."""
    size, side = settings.height_width, settings.reading_side
    if size and settings.crop == "stretch":
        return f"the whole, stretched to {size[1]} x {size[0]}"
    part = f"the center {size[1]} x {size[0]}" if size else "the whole"
    return f"{part}, the shorter side scaled to {side}" if side else part


def in_words(settings: Preprocessing, height: int, width: int) -> str:
    """Which part of a photograph of this size is seen, in words; width x height, as people say it."""
    size, scaled = settings.height_width, reading_size(settings, height, width)
    if size == (height, width) and settings.shorter_side is None:
        scaled = size
    if size and settings.crop == "stretch":
        return f"the whole {width} x {height} stretched to {size[1]} x {size[0]}"
    scaling = "" if scaled == (height, width) else f" scaled to {scaled[1]} x {scaled[0]}"
    part = "the whole" if size is None or size == scaled else f"the center {size[1]} x {size[0]} of"
    return f"{part} {width} x {height}{scaling}"


def reading_frame(settings: Preprocessing, height: int, width: int) -> tuple[float, float, float, float]:
    """(top, left, h, w): which part of a photograph of this size `read_photo` gives, in its own pixels."""
    size = settings.height_width
    stays = size == (height, width) and settings.shorter_side is None
    if size is None or stays or settings.crop == "stretch":
        return 0.0, 0.0, float(height), float(width)
    scaled = reading_size(settings, height, width)
    rows, columns = height / scaled[0], width / scaled[1]
    top, left = round((scaled[0] - size[0]) / 2), round((scaled[1] - size[1]) / 2)
    return top * rows, left * columns, size[0] * rows, size[1] * columns


def reading_size(settings: Preprocessing, height: int, width: int) -> tuple[int, int]:
    """The size that a photograph of this size is brought to, before its center is cut out."""
    if settings.reading_side is None:
        return height, width
    side = settings.reading_side or min(height, width)
    least_h, least_w = settings.height_width or (1, 1)
    least_h, least_w = least_h * side // min(least_h, least_w), least_w * side // min(least_h, least_w)
    if least_h * width >= least_w * height:  # the height decides, the width follows, rounded down
        return least_h, max(least_w, least_h * width // height)
    return max(least_h, least_w * height // width), least_w


def takes_any_size(network: Network) -> bool:
    """Whether pictures of any height and width go in, without being brought to one size by the network itself."""
    meta = network.meta
    if not meta.get("picture"):
        return False
    free = meta.get("free")
    resized = any(node.name == "picture.size" for node in network.nodes)
    return not resized and (free is None or {2, 3} <= set(free.get(network.inputs[0], ())))


def _trained_on(network: Network) -> str | None:
    """Which part of photographs it was trained on, if it says so. Raises FormatError if a file spoiled it."""
    crop = network.meta.get("crop")
    with naming(Path("the network's meta data, crop")):
        require_crop(crop)
    return crop


def _expected(network: Network) -> Preprocessing:
    """What the network was made for, with a size: its preprocessing's, or that of its training examples."""
    settings, example = preprocessing_of(network), network.meta.get("shape") or []
    is_picture = len(example) == 3 and example[0] in (1, 3)
    if settings is None:
        if not is_picture:
            raise SettingError(
                f"the network takes no pictures: its examples are {tuple(example) or 'of unknown shape'}"
            )
        settings = Preprocessing(channels="gray" if example[0] == 1 else "RGB")
    if settings.size is not None:
        return settings
    height, width = example[1:] if is_picture else (SIDE, SIDE)
    made_for = replace(settings, size=(height, width), shorter_side=min(height, width))
    return made_for if settings.shorter_side is None else _in_size(made_for, settings.shorter_side)


def _in_size(settings: Preprocessing, side: int) -> Preprocessing:
    """The same part of a photograph, with so many pixels on its shorter side."""
    height, width = settings.height_width or (side, side)
    factor = side / min(height, width)
    size = (round(height * factor), round(width * factor))
    return replace(settings, size=size, shorter_side=round((settings.reading_side or side) * factor))
