"""Damage to files: bytes, numbers that say lengths, documents, tensors, members of archives, chunks of pictures, cells.

Every function takes a file's content and a generator, from which everything follows, and gives the damaged content.
"""

import io
import json
import random
import struct
import zipfile
import zlib
from typing import Any

import numpy as np

NUMBERS: tuple[Any, ...] = (
    -(2**63),
    -(2**31),
    -1,
    0,
    1,
    2,
    3,
    7,
    255,
    65_536,
    10**6,
    2**31 - 1,
    2**31,
    2**63,
    10**18,
    10**30,
)
FLOATS = (0.5, -0.0, 1e-300, 1e300, -1e30, float("nan"), float("inf"), float("-inf"))
TEXTS = ("", "x", "\0", "../x", "/etc/passwd", "é" * 300, "9" * 5000, "nan", "input", "1,2", "0-99999999", "a" * 20_000)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [1], [[1, [2]]], {"$tensor": "x"}, {"$number": "inf"}, {"a": 1})
DEEP = "@deep@"
"""Stands for a list in a list in a list …"""
SIZES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def wild(rng: random.Random) -> Any:
    """A value that stands for another one."""
    if rng.random() < 0.05:
        return [rng.choice((1, "x", None, 0.5))] * 100_000
    if rng.random() < 0.03:
        return DEEP
    return rng.choice(rng.choice((NUMBERS, FLOATS, TEXTS, OTHERS)))


def in_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flipped, cut, doubled, inserted, or with another number where a length may stand; one to four times."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        place = rng.randrange(max(1, min(len(data), rng.choice((64, 600, len(data))))))
        kind = rng.randrange(8)
        if kind < 3 and data:
            data[place] = rng.choice((data[place] ^ 1 << rng.randrange(8), rng.randrange(256)))
        elif kind == 3:
            del data[rng.choice((place, rng.randrange(len(data) + 1))) :]
        elif kind == 4:
            data[place:place] = rng.choice((rng.randbytes(rng.randint(1, 40)), bytes(rng.randint(1, 5000))))
        elif kind == 5:
            del data[place : place + rng.randint(1, 60)]
        elif kind == 6:
            part = data[place : place + rng.randint(1, 3000)]
            data[place:place] = part
        else:
            form = rng.choice(("<I", ">I", "<H", ">H", "<Q", ">Q"))
            number = struct.pack(form, rng.choice(SIZES) % 2 ** (8 * struct.calcsize(form)))
            data[place : place + len(number)] = number
    return bytes(data)


def dumped(document: Any) -> str:
    """The document as JSON, and what only a stranger's JSON holds."""
    return json.dumps(document).replace(f'"{DEEP}"', "[" * 3000 + "]" * 3000)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [] if path == () else [path]
    for key, item in items:
        if isinstance(value, dict) or key < 50:
            found += places(item, (*path, key))
    return found


def in_document(document: Any, rng: random.Random) -> Any:
    """The same document with one to three values changed, left out, renamed or doubled, in place."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        found = places(document)
        if not found:
            return wild(rng)
        *path, last = rng.choice(found)
        holder = document
        for key in path:
            holder = holder[key]
        kind = rng.randrange(8)
        if kind < 5:
            holder[last] = wild(rng)
        elif kind == 5:
            del holder[last]
        elif isinstance(holder, dict):
            holder[rng.choice((*TEXTS[:5], f"{last}x", *holder))] = holder.pop(last)
        else:
            holder.insert(last, holder[last])
    return document


def in_text(content: bytes, rng: random.Random) -> bytes:
    """Another line, cell or sign in a table or a settings file."""
    if rng.random() < 0.4:
        return in_bytes(content, rng)
    lines = content.decode().split("\n")
    place, kind = rng.randrange(len(lines)), rng.randrange(9)
    cells = lines[place].split(",")
    if kind < 3:
        cells[rng.randrange(len(cells))] = rng.choice((*map(str, NUMBERS), *map(str, FLOATS), *TEXTS, "=", "[", '"'))
        lines[place] = ",".join(cells)
    elif kind == 3:
        lines[place] = ",".join(cells * rng.choice((2, 100, 50_000)))
    elif kind == 4:
        lines.insert(place, lines[place])
    elif kind == 5:
        lines[place] = rng.choice(('"', "'", "#", ";", "\t", "[a]", "[[", "\r", "\ufeff")) + lines[place]
    elif kind == 6:
        lines[place] = "x" * rng.choice((1000, 3_000_000))
    elif kind == 7:
        lines = [line + "," * rng.choice((1, 5)) for line in lines]
    else:
        rng.shuffle(lines)
    return "\n".join(lines).encode("utf-8" if rng.random() < 0.9 else "utf-16", "replace")


def in_safetensors(content: bytes, rng: random.Random) -> bytes:
    """Bytes, the header's entries, or the document in its metadata."""
    if rng.random() < 0.15:
        return in_bytes(content, rng)
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    if rng.random() < 0.15:
        in_document(header, rng)
    else:
        document = json.loads(header["__metadata__"]["blockprop"])
        state = document.get("state")
        if isinstance(state, dict) and rng.random() < 0.8:  # what it says of the run is looked at before all else
            about = {name: state.pop(name) for name in ("version", "identity", "device") if name in state}
            document["state"] = about | in_document(state, rng)
        else:
            in_document(document, rng)
        header["__metadata__"]["blockprop"] = dumped(document)
    if rng.random() < 0.2 and len(data) > 3:
        values = np.frombuffer(data[: len(data) // 4 * 4], np.float32).copy()
        values[rng.randrange(len(values)) :: 7] = rng.choice(FLOATS)
        data = values.tobytes() + data[len(data) // 4 * 4 :]
    text = dumped(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def in_npz(content: bytes, rng: random.Random) -> bytes:
    """Bytes, or members that are replaced, renamed, doubled, forged or enormous."""
    if rng.random() < 0.3:
        return in_bytes(content, rng)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name, kind = rng.choice(list(members)), rng.randrange(9)
    if kind == 0:
        members[name] = in_bytes(members[name], rng)
    elif kind == 1:
        members[name] = _npy_head(rng) + members[name][128:]
    elif kind == 2:
        members[name] = rng.choice((b"", b"PK\3\4", b"text", rng.randbytes(200)))
    elif kind == 3:
        members[rng.choice(("x", "../x.npy", "/x.npy", "y.npy", "z", "x_train.npy", "pickle"))] = members.pop(name)
    elif kind == 4:
        members = {f"{i}.npy": members[name] for i in range(rng.choice((100, 20_000)))}
    elif kind == 5:
        members[name] = members[name] + bytes(rng.choice((10, 10**6, 3 * 10**8)))
    elif kind == 6:
        members[name] = _npy(
            np.zeros(rng.choice(((0,), (1, 0, 3), (10**6,), (3, 4, 5))), rng.choice(("b", "f", "d", "i", "S3")))
        )
    elif kind == 7:
        members[name] = _npy_head(rng, "<f4", (rng.choice((10**8, 2**31, 2**62)),)) + bytes(3 * 10**8)
    else:
        del members[name]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED))) as archive:
        for title, member in members.items():
            method = zipfile.ZIP_DEFLATED if len(member) > 10**6 else None
            archive.writestr(title, member, method, 1)
    return file.getvalue()


def in_npy(content: bytes, rng: random.Random) -> bytes:
    """Bytes, or another head."""
    return in_bytes(content, rng) if rng.random() < 0.5 else _npy_head(rng) + content[128:]


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _npy_head(rng: random.Random, kind: str | None = None, shape: tuple[int, ...] | None = None) -> bytes:
    kind = kind or rng.choice(("<f4", "|O", "<U9", "|V8", ">i8", "<c16", "x", "<M8[s]", "[('a', '<f4')]", "<f4" * 50))
    if shape is None:
        shape = tuple(rng.choice((0, 1, 4, 10**6, 2**31, 2**62, -1)) for _ in range(rng.choice((0, 1, 2, 4, 40))))
    text = f"{{'descr': {kind!r}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n"


def in_png(content: bytes, rng: random.Random) -> bytes:
    """Bytes, or whole chunks with their checksums right: sizes, texts that unfold to much, doubled ones."""
    if rng.random() < 0.3:
        return in_bytes(content, rng)
    chunks, place = [], 8
    while place + 8 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    i, kind = rng.randrange(len(chunks)), rng.randrange(7)
    name, data = chunks[i]
    if kind == 0:
        sides = [rng.choice((0, 1, 33, 9000, 60_000, 2**31 - 1)) for _ in range(2)]
        chunks[0] = (
            b"IHDR",
            struct.pack(">II", *sides) + bytes([rng.choice((1, 8, 16)), rng.choice((0, 2, 3, 6)), 0, 0, 0]),
        )
    elif kind == 1:
        chunks.insert(i, chunks[i])
    elif kind == 2:
        chunks[i] = (name, in_bytes(data, rng) if data else b"x")
    elif kind == 3:
        chunks[i] = (rng.choice((b"IDAT", b"tRNS", b"PLTE", b"iTXt", b"acTL", b"fcTL", b"eXIf", b"gAMA")), data)
    elif kind == 4:
        packed = zlib.compress(bytes(rng.choice((10**4, 10**8))), 9)
        head = rng.choice((b"zTXta\0\0", b"iCCPa\0\0", b"iTXtblockprop\0\1\0\0\0"))
        chunks[1:1] = [(head[:4], head[4:] + packed)] * rng.choice((1, 1, 30))
    elif kind == 5:
        chunks[1:1] = [(b"tEXt", b"a\0" + bytes(300))] * rng.choice((10, 20_000))
    else:
        del chunks[i]
    packed_chunks = [struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks]
    return content[:8] + b"".join(packed_chunks)
