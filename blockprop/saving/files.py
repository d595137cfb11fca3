"""Files that are whole or not there at all: tensors with a JSON document, pictures, reports.

Everything is written to a temporary file beside the target, flushed to the disk, and then put in the target's place.
Tensors are kept in safetensors files, whose metadata holds the document. Nothing is ever pickled.
"""

import json
import math
import os
import textwrap
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
from torch import Tensor

from blockprop.errors import BlockpropError, BlockpropWarning, FormatError
from blockprop.saving.beside import scratch_for, temporary_for

LARGEST_DOCUMENT = 16 * 2**20
"""Characters of JSON that are read or written at most; real networks need less than a hundredth."""
LARGEST_TEXT = 2**20
"""Bytes of settings that people write by hand, of which TOML takes a second to read."""
KINDS = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}

StrPath = str | os.PathLike[str]


def write_tensors(path: StrPath, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write one safetensors file with a JSON document in its metadata, atomically.

    document: plain data only (text, numbers, None, lists, and dicts with text as keys).
    Raises FormatError if it cannot be written; then nothing has changed.
    """
    with replaced(path) as temporary:
        put_tensors(temporary, tensors, document)


def read_tensors(path: StrPath) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return what `write_tensors` wrote: (tensors by name, document). Raises FormatError naming the file."""
    source = Path(path)
    require_file(source)
    try:
        with safetensors.safe_open(source, framework="pt") as file:
            text = (file.metadata() or {}).get("blockprop")
            # Cloned, because a tensor that lives in a mapped file changes or crashes with the file.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # whatever a damaged file sets off in the reader is one and the same thing to the user
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(
            f"{path}: expected a complete safetensors file; it is damaged or cut short ({reason})"
        ) from None
    if text is None:
        raise FormatError(
            f"{path}: a safetensors file, but not one that blockprop wrote (it has no blockprop metadata)"
        )
    with naming(source):
        return tensors, parse(text)


def write_file(path: StrPath, content: bytes | str) -> None:
    """Write a picture, report or table, atomically (text as UTF-8). Raises FormatError if it cannot be written."""
    with replaced(path) as temporary:
        put_bytes(temporary, content.encode() if isinstance(content, str) else content)


@contextmanager
def replaced(path: StrPath) -> Iterator[Path]:
    """Give a temporary path beside `path` to write to; in the end it takes the place of `path`, or vanishes on failure.

    Raises FormatError for what the operating system refuses.
    """
    target = Path(os.path.realpath(path))  # writes through a link instead of replacing the link
    try:
        if target.exists() and not target.is_file():
            raise FormatError(f"{path} is not an ordinary file and will not be replaced; choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_for(target) as temporary:
            mode = (target if target.exists() else temporary).stat().st_mode
            yield temporary
            temporary.chmod(mode & 0o7777)  # safetensors makes its files private
            os.replace(temporary, target)
    except (OSError, safetensors.SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise Unwritten(f"{path} could not be written ({reason}); whatever was there before is unchanged") from error


class Unwritten(FormatError):
    """The operating system would not write a file; what was there before is unchanged."""


class Dispensable:
    """What a run can do without, a preview for instance: if it cannot be written, that is said once.

    consequence: what follows from it, in words.   missing: whether it could not be written the last time
    """

    def __init__(self, consequence: str):
        self.consequence, self.missing, self._is_told = consequence, False, False

    @contextmanager
    def written(self) -> Iterator[None]:
        """Inside, a file that cannot be written is a BlockpropWarning, the first time."""
        try:
            yield
            self.missing = False
        except Unwritten as error:
            self.missing = True
            if not self._is_told:
                self._is_told = True
                warnings.warn(f"{error}; {self.consequence}", BlockpropWarning, stacklevel=3)


def require_writable(path: StrPath) -> None:
    """FormatError if a file could not be written there: better before the work than after it. Makes parent folders."""
    target = Path(os.path.realpath(path))
    try:
        if target.exists() and not target.is_file():
            raise FormatError(f"{path} is not an ordinary file and will not be replaced; choose another name")
        target.parent.mkdir(parents=True, exist_ok=True)
        with temporary_for(target):
            pass
    except OSError as error:
        raise FormatError(f"{path} could not be written ({error.strerror or error})") from error


def put_bytes(path: Path, content: bytes) -> None:
    """Write to a path from `replaced`, down to the disk."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def put_tensors(path: Path, tensors: Mapping[str, Tensor], document: Mapping[str, Any]) -> None:
    """Write to a path from `replaced`, down to the disk."""
    metadata = {"format": "pt", "blockprop": dump(document)}
    with scratch_for(path) as folder:  # safetensors writes to a temporary file of its own, which a kill would leave
        safetensors.torch.save_file(_separate(tensors), folder / "tensors", metadata)
        os.replace(folder / "tensors", path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU of which no two share memory, as safetensors wants them."""
    separate: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        separate[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return separate


def require_file(path: Path) -> None:
    """Raises FormatError if there is no ordinary file at this path."""
    if not path.exists():
        raise FormatError(f"{path} does not exist; expected a file or folder that blockprop saved")
    if not path.is_file():
        raise FormatError(f"{path} is not an ordinary file; expected one that blockprop saved")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Put the file's name in front of what went wrong inside."""
    try:
        yield
    except (BlockpropError, RecursionError) as error:
        raise FormatError(f"{path}: {error}") from error


def plain(value: Any, where: str) -> Any:
    """The value as JSON can hold it; numbers that JSON lacks become {"$number": "inf"}.

    Raises FormatError, with the place inside `where`, for anything but plain data.
    """
    try:
        return _plain(value, where)
    except RecursionError:
        raise FormatError(f"{where} is nested too deeply, or contains itself") from None


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$number": str(value)}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise FormatError(
        f"{where} is a {type(value).__name__}, which a file cannot hold; "
        "use text, numbers, None, lists, and dicts with text as keys"
    )


def _restored(value: Any) -> Any:
    """The inverse of `plain`, but that tuples have become lists."""
    if isinstance(value, list):
        return [_restored(item) for item in value]
    if isinstance(value, dict) and list(value) == ["$number"]:
        return _number(value["$number"])
    if isinstance(value, dict):
        return {key: _restored(item) for key, item in value.items()}
    return value


def _number(text: Any) -> float:
    if text not in ("inf", "-inf", "nan"):
        raise FormatError(f'expected "inf", "-inf" or "nan" as a $number, got {short(text)}')
    return float(text)


def dump(document: Mapping[str, Any], indent: int | None = None) -> str:
    """The document as JSON. Raises FormatError if it is too long or holds anything but plain data."""
    text = json.dumps(plain(document, "the document"), indent=indent, allow_nan=False)
    if len(text) > LARGEST_DOCUMENT:
        raise FormatError(
            f"the graph and its meta data take {len(text)} characters of JSON; {LARGEST_DOCUMENT} are allowed"
        )
    return text


def read_document(path: Path) -> dict[str, Any]:
    """The JSON object in a file of its own. Raises FormatError naming the file."""
    require_file(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_DOCUMENT + 1)
        text = content.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"{path}: expected JSON text ({error})") from None
    with naming(path):
        return parse(text)


def small_bytes(path: Path) -> bytes:
    """What a file of settings holds that people write by hand. FormatError if it is too large for that."""
    with path.open("rb") as file:
        content = file.read(LARGEST_TEXT + 1)
    if len(content) > LARGEST_TEXT:
        raise FormatError(f"{path}: more than {LARGEST_TEXT:,} bytes, which no settings are")
    return content


def small_text(path: Path) -> str:
    """The same as text. Raises UnicodeDecodeError, too."""
    return small_bytes(path).decode()


def parse(text: str) -> dict[str, Any]:
    """The document that `dump` wrote. Raises FormatError if it is not one."""
    if len(text) > LARGEST_DOCUMENT:
        raise FormatError(f"the JSON is longer than the {LARGEST_DOCUMENT} characters that are allowed")
    try:
        document = _restored(json.loads(text))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"expected JSON, which this is not ({error})") from None
    if not isinstance(document, dict):
        raise FormatError(f"expected a JSON object, got {kind_of(document)}")
    return document


def kind_of(value: Any) -> str:
    """What JSON calls this value: "text", "a list", …."""
    return "nothing" if value is None else KINDS.get(type(value), type(value).__name__)


def short(value: Any) -> str:
    """The value on one line of at most 160 characters."""
    text = value if isinstance(value, str | Exception) else repr(value)
    return textwrap.shorten(str(text)[:1000], 160, placeholder=" …") or repr(value)
