"""What a network says of the data that it was trained on: their name and digest, and nothing of where they lie."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from blockprop.engine.about import About, HeldOut


def name_of(source: str) -> str:
    """The name of a file, folder or data set, without its folders; of "nets/my.py:build" it is "my.py:build"."""
    return Path(os.path.abspath(source) if os.path.exists(source) else source).name


def held_out_of(source: str, fraction: float, seed: int) -> HeldOut:
    """What is noted when a part of the source is kept back from training."""
    return {"source": name_of(source), "digest": digest_of(source), "fraction": fraction, "seed": seed}


def same_source(meta: About, source: str) -> tuple[HeldOut | None, str]:
    """(what was held out, "") if the network was trained on these data; otherwise None, and what has to be said."""
    noted = meta.get("held_out")
    if not isinstance(noted, dict):
        return None, ""
    held_out: Mapping[str, Any] = noted
    if "digest" not in held_out:  # networks saved before say where the data lay
        same = held_out.get("source") == (os.path.abspath(source) if os.path.exists(source) else source)
        return (noted if same else None), ""
    if held_out["digest"] == digest_of(source):
        return noted, ""
    if held_out.get("source") == name_of(source):
        return None, (
            f"{source} has the name of what the network was trained on, and another content: it is tested on all of "
            "it, also on what it may have learned from"
        )
    return None, ""


def digest_of(source: str) -> str:
    """16 hexadecimal digits of a file's content, or of the names and sizes of a folder's files; the name of others."""
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    if not path.is_dir():
        return source
    total = hashlib.sha256()
    for part in sorted(part for part in path.rglob("*") if part.is_file()):
        total.update(f"{part.relative_to(path).as_posix()} {part.stat().st_size}\n".encode())
    return total.hexdigest()[:16]
