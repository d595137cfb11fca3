"""Arrays of examples and labels: NumPy's .npz, MNIST's IDX files, and the tensors that both become."""

import gzip
import math
import re
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from blockprop.data.dataset import Data, Dataset
from blockprop.data.labels import labels, sizes_of
from blockprop.errors import DataError, listed

LARGEST_SET = 2**31
"""Numbers in one array at most; as float32 they take 8 GiB."""

FEW_BYTES, TIMES = 2**26, 100
"""So many bytes are unfolded from any packed file, and of more so many for each byte that is packed."""

X_NAMES = ("x", "data", "images", "image", "features", "inputs")
Y_NAMES = ("y", "target", "targets", "labels", "label")
CLASS_NAMES = ("classes", "classnames", "targetnames", "labelnames")


def read_npz(path: Path, need_labels: bool, classes: Sequence[str] | None, task: str | None) -> Data:
    """x and y, or x_train, y_train, x_test, y_test, under these names or their usual variants.

    Raises DataError naming the file, the array and the row.
    """
    arrays = _load_npz(path)
    parts = _parts(arrays)
    whole = "train" if ("x", "train") in parts else ""
    if ("x", whole) not in parts:
        raise DataError(f"{path}: expected arrays x and y, or x_train and y_train; it holds {listed(arrays) or 'none'}")
    names = next((arrays[key] for key in arrays if _letters(key) in CLASS_NAMES), None)
    if classes is None and names is not None:
        classes = [str(name) for name in names.ravel()]
    train = _npz_part(path, arrays, parts, whole, need_labels, classes, task)
    if ("x", "test") not in parts:
        return Data(train)
    test_task = task or ("regress" if train.classes is None and train.y is not None else None)
    return Data(train, _npz_part(path, arrays, parts, "test", need_labels, train.classes or classes, test_task))


def _load_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
        _require_room(size, path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        strange = [key for key, array in arrays.items() if not isinstance(array, np.ndarray)]
        if strange:
            raise DataError(f"{strange[0]} is no array")
        for key, array in arrays.items():
            if array.dtype.kind == "U" and array.size:
                letters = np.frombuffer(array.tobytes(), f"{array.dtype.str[0]}u4")
                if letters.max(initial=0) > sys.maxunicode:
                    raise DataError(f"{key} holds letters that are none")
        return arrays
    except Exception as error:  # a damaged archive can fail in many ways, with one meaning
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(f"{path}: expected a complete .npz file of plain arrays ({reason})") from None


def _require_room(size: int, path: Path) -> None:
    """DataError for a file that would unfold to more than there may be, or to far more than it is."""
    packed = path.stat().st_size
    if size > 8 * LARGEST_SET:
        raise DataError(f"it would take {size} bytes of memory; {8 * LARGEST_SET} are allowed")
    if size > FEW_BYTES and size > TIMES * packed:
        raise DataError(f"it would unfold to {size:,} bytes, more than {TIMES} times the {packed:,} that it has")


def _letters(key: str) -> str:
    return re.sub(r"[^a-z]", "", key.lower())


def _parts(arrays: dict[str, np.ndarray]) -> dict[tuple[str, str], str]:
    """{("x" or "y", "train", "test" or ""): key}."""
    parts: dict[tuple[str, str], str] = {}
    for key in arrays:
        letters = _letters(key)
        part = next((part for part in ("train", "test") if letters.startswith(part) or letters.endswith(part)), "")
        base = letters.removeprefix(part).removesuffix(part)
        for role, names in (("x", X_NAMES), ("y", Y_NAMES)):
            if base in names:
                parts.setdefault((role, part), key)
    return parts


def _npz_part(
    path: Path,
    arrays: dict[str, np.ndarray],
    parts: dict[tuple[str, str], str],
    part: str,
    need_labels: bool,
    classes: Sequence[str] | None,
    task: str | None,
) -> Dataset:
    x_key, y_key = parts["x", part], parts.get(("y", part))
    x = examples(arrays[x_key], f"{path}: {x_key}")
    if y_key is None:
        if need_labels:
            raise DataError(
                f"{path}: has examples ({x_key}) but no labels; expected {x_key.lower().replace('x', 'y')!r}"
            )
        return Dataset(x, None, None if classes is None else tuple(classes), str(path))
    count = arrays[y_key].shape[0] if arrays[y_key].ndim else 1
    if count != len(x):
        raise DataError(f"{path}: {x_key} holds {len(x)} examples but {y_key} {count} labels")
    y, names = labels(arrays[y_key], f"{path}: {y_key}", classes, task)
    return Dataset(x, y, names, str(path))


def is_idx(path: Path) -> bool:
    """Whether the file is named as MNIST's files are."""
    return "ubyte" in path.name or ".idx" in path.name


def find_idx(folder: Path, *starts: str) -> Path | None:
    """The images file in the folder whose name begins so, if there is one."""
    images = [path for path in sorted(folder.iterdir()) if is_idx(path) and "images" in path.name]
    return next((path for path in images if path.name.startswith(starts)), None)


def read_idx(images: Path, need_labels: bool, classes: Sequence[str] | None) -> Dataset:
    """An images file and the labels file beside it, plain or .gz. Raises DataError naming the file."""
    pixels = _idx_array(images, 3)
    x = examples(pixels, str(images))
    name = images.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    beside = [images.with_name(name + suffix) for suffix in ("", ".gz")]
    path = next((path for path in beside if path.exists()), None)
    if path is None:
        if need_labels:
            raise DataError(f"{images}: the labels file {name} (or {name}.gz) is missing beside it")
        return Dataset(x, None, None if classes is None else tuple(classes), str(images))
    array = _idx_array(path, 1)
    if len(array) != len(x):
        raise DataError(f"{images} holds {len(x)} images but {path.name} {len(array)} labels")
    y, names = labels(array, str(path), classes, "classify")
    return Dataset(x, y, names, str(images))


def _idx_array(path: Path, dimensions: int) -> np.ndarray:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            head = file.read(4 + 4 * dimensions)
            if len(head) < 4 + 4 * dimensions or head[:4] != bytes((0, 0, 8, dimensions)):
                raise DataError(f"{path}: expected an IDX file of bytes in {dimensions} dimensions, as MNIST has")
            sizes = [int(size) for size in np.frombuffer(head[4:], ">u4")]
            count = math.prod(sizes)
            if count > LARGEST_SET:
                raise DataError(f"{path}: claims {count} bytes; {LARGEST_SET} are allowed")
            _require_room(count, path)
            content = file.read(count + 1)
    except DataError as error:
        raise DataError(str(error) if str(error).startswith(f"{path}: ") else f"{path}: {error}") from None
    except Exception as error:  # a damaged .gz can fail in many ways, with one meaning
        raise DataError(f"{path}: cannot be read ({error})") from None
    if len(content) != count:
        more = "more" if len(content) > count else f"only {len(content)}"
        raise DataError(f"{path}: its head promises {count} bytes, but there are {more}")
    return np.frombuffer(content, np.uint8).reshape(sizes)


def examples(array: np.ndarray, where: str) -> Tensor:
    """The array as float32; pictures (3 or 4 dimensions) as (n, c, h, w), bytes scaled to 0…1.

    Raises DataError for no examples, for other than numbers, and for a NaN or an infinity, with its row.
    """
    if array.dtype.kind not in "buif":
        raise DataError(f"{where}: expected numbers, got {array.dtype}")
    if array.ndim == 0 or array.size == 0:
        raise DataError(f"{where}: expected at least one example, got an array of {sizes_of(array)}")
    if array.size > LARGEST_SET:
        raise DataError(f"{where}: {array.size} numbers are too many; {LARGEST_SET} are allowed")
    if array.ndim == 1:
        array = array[:, None]
    array = _channels_first(array, where)
    with np.errstate(over="ignore"):
        x = torch.from_numpy(array.astype(np.float32))
    _require_finite(x, where)
    scale = _scale(array, where)
    return x if scale == 1 else x.div_(scale)


def _channels_first(array: np.ndarray, where: str) -> np.ndarray:
    if array.ndim == 3:
        return array[:, None]
    if array.ndim != 4 or array.shape[1] in (1, 3):
        return array
    if array.shape[3] in (1, 3):
        return array.transpose(0, 3, 1, 2)
    if array.dtype == np.uint8:
        raise DataError(f"{where}: pictures have 1 channel (gray) or 3 (RGB), but the array is {sizes_of(array)}")
    return array


def _scale(array: np.ndarray, where: str) -> int:
    """What a white pixel's value is: 1 for floats and tables."""
    if array.dtype.kind not in "ui" or (array.ndim < 3 and array.dtype != np.uint8):
        return 1
    white = 65535 if array.dtype == np.uint16 else 255
    if array.min() < 0 or array.max() > white:
        raise DataError(f"{where}: expected pixels in 0 to {white}, got {array.min()} to {array.max()}")
    return white


def _require_finite(x: Tensor, where: str) -> None:
    bad = ~torch.isfinite(x).flatten(1).all(dim=1)
    if bad.any():
        row = int(bad.nonzero()[0])
        value = x[row][~torch.isfinite(x[row])][0].item()
        raise DataError(f"{where}: row {row + 1} of {len(x)} holds {value}; remove or fill in such values")
