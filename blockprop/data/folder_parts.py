"""What the folders in a folder of pictures are: the parts of a data set (train, val, test), or its classes."""

import re
from pathlib import Path
from typing import NamedTuple

from blockprop.errors import DataError
from blockprop.pictures.image_kinds import Files, files_in

PARTS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst"),
}
"""What the folder of a part may be called, alone or as in training_set."""
BEHIND = r"[-_ ]?(?:data|set|dataset|images|imgs|split)$"
"""What stands behind such a name."""


class Parts(NamedTuple):
    """The folders of a data set's parts, each with a folder for each class."""

    train: Path
    test: Path | None = None
    validation: Path | None = None


def parts_of(folder: Path, notes: list[str]) -> Parts | None:
    """The parts that a folder is divided into; None if the folders in it are the classes.

    A part has a folder for each class; a class has pictures. val alone, beside train, is the test part.
    notes: get what could have been meant otherwise. Raises DataError if it is not clear.
    """
    inner = folders_in(folder)
    named = _named(folder, inner)
    if not named:
        _require_no_parts(folder, inner)
        return None
    divided = {part: path for part, path in named.items() if _is_divided(path)}
    if not divided:
        _require_classes(folder, inner, named, notes)
        return None
    if len(divided) < len(named):
        odd = ", ".join(f"{path.name}/" for part, path in named.items() if part not in divided)
        raise DataError(f"{folder}: {odd} holds pictures, but no folder for each class, as the other parts do")
    if "train" not in named and len(named) > 1:
        raise DataError(f"{folder}: there is no train/ beside {_names(named)}; name the one that is meant")
    _note_others(folder, inner, named, notes)
    if len(named) == 1:
        if "train" not in named:
            notes.append(f"{folder}: {_names(named)} is the only part, and is taken for the whole")
        return Parts(next(iter(named.values())))
    return _as_parts(folder, named, notes)


def folders_in(folder: Path) -> list[Path]:
    """The folders in a folder, sorted; hidden ones are passed over."""
    return [path for path in sorted(folder.iterdir()) if path.is_dir() and _is_seen(path)]


def _is_seen(path: Path) -> bool:
    return not path.name.startswith(".") and path.name != "__MACOSX"


def files_of_class(folder: Path, notes: list[str]) -> Files:
    """The pictures of a class; those in folders inside it are of the class, too, which is said."""
    files = files_in(folder)
    deeper = sorted({path.relative_to(folder).parts[0] for path in files.pictures if path.parent != folder})
    if deeper:
        names = ", ".join(f"{name}/" for name in deeper[:3]) + (" …" if len(deeper) > 3 else "")
        notes.append(f"{folder}: the pictures in {names} are of the class {folder.name!r}, too")
    return files


def _named(folder: Path, inner: list[Path]) -> dict[str, Path]:
    """The folders that are called like a part, by part."""
    named: dict[str, Path] = {}
    for path in inner:
        name = re.sub(BEHIND, "", path.name.lower())
        part = next((part for part, names in PARTS.items() if name in names), None)
        if part in named:
            raise DataError(f"{folder}: {named[part].name}/ and {path.name}/ could both be the {part} part")
        if part is not None:
            named[part] = path
    return named


def _require_no_parts(folder: Path, inner: list[Path]) -> None:
    """DataError if the folders are divided in the same way, as the parts of a data set are, and no classes."""
    if not all(_is_divided(path) for path in inner):
        return
    names = ", ".join(f"{path.name}/" for path in inner)
    if len(inner) == 1 and _named(inner[0], folders_in(inner[0])):
        raise DataError(f"{folder}: holds {names} alone, and that the parts of a data set; give {inner[0]}")
    inside = {tuple(path.name for path in folders_in(part)) for part in inner}
    if len(inner) > 1 and len(inside) == 1 and len(inside.pop()) > 1:
        raise DataError(
            f"{folder}: {names} hold the same folders, as the parts of a data set do; call these train/, val/ and "
            "test/, or put the pictures of a class in one folder"
        )


def _is_divided(folder: Path) -> bool:
    """Whether its pictures lie in folders of their own, one for each class."""
    inner = folders_in(folder)
    here = [path for path in files_in(folder).pictures if path.parent == folder]
    return bool(inner) and not here


def _require_classes(folder: Path, inner: list[Path], named: dict[str, Path], notes: list[str]) -> None:
    """Note that folders called like parts are taken for classes; DataError if there are no others."""
    if len(inner) == len(named):
        raise DataError(
            f"{folder}: {_names(named)} hold pictures, but no folder for each class; make these, or give folders "
            "other names if they are the classes"
        )
    notes.append(f"{folder}: {_names(named)} counts as a class, since pictures lie in it")


def _note_others(folder: Path, inner: list[Path], named: dict[str, Path], notes: list[str]) -> None:
    """Note pictures that lie beside the parts."""
    parts = set(named.values())
    beside = [path for path in inner if path not in parts and files_in(path).pictures]
    if beside:
        names = ", ".join(f"{path.name}/" for path in beside)
        notes.append(f"{folder}: {names} is left out: the parts are {_names(named)}")


def _as_parts(folder: Path, named: dict[str, Path], notes: list[str]) -> Parts:
    if "test" not in named:
        notes.append(f"{folder}: {named['validation'].name}/ is the test part")
        return Parts(named["train"], named["validation"])
    return Parts(named["train"], named["test"], named.get("validation"))


def _names(named: dict[str, Path]) -> str:
    return ", ".join(f"{path.name}/" for path in named.values())
