"""Programs: operations on pictures in memory that C carries out one after the other (op.h, whose fields these are)."""

import ctypes
from collections.abc import Sequence
from enum import IntEnum
from typing import Any


class Kind(IntEnum):
    """What an operation does; in the order of program.c."""

    CONVOLVE = 0
    WINOGRAD = 1
    SPREAD = 2
    DEPTHWISE = 3
    POOL = 4
    UNPOOL = 5
    AVERAGE = 6
    PASS = 7
    GRADIENT = 8


RECTIFY, KEEP, GATE, REFLECT, ZEROS = 1, 2, 4, 8, 16
"""Flags: y is rectified; where it is open is kept as bits; y is 0 where such a bit is 0; x goes on beyond its edge as
if reflected there; what sums nothing but zeros is exactly 0."""


class Address(ctypes.Structure):
    """A piece of memory, by its number, and bytes from its beginning."""

    _fields_ = (("piece", ctypes.c_int64), ("start", ctypes.c_int64))


NOTHING = Address(-1, 0)
MEMORIES = ("distances", "x", "y", "add", "weight", "bias", "bits", "places", "scratch")
NUMBERS = (
    *("n", "h", "w", "c", "oh", "ow", "oc", "gh", "gw"),
    *("y0", "x0", "ystep", "xstep", "sy", "sx", "taps", "weight_taps"),
)
STEPS = ("x_ld", "y_ld", "add_ld", "bits_ld", "places_ld", "flags")


class Op(ctypes.Structure):
    """An operation; what a field means is said in op.h, and at the function of its kind."""

    _fields_ = (
        ("kind", ctypes.c_int64),
        *((name, ctypes.c_int64) for name in NUMBERS),
        *((name, Address) for name in MEMORIES),
        *((name, ctypes.c_int64) for name in STEPS),
        ("high", ctypes.c_double),
    )


def op(kind: Kind, **fields: Any) -> Op:
    """An operation with these fields; what is not named is 0, and memory nothing."""
    made = Op(kind=kind, **dict.fromkeys(MEMORIES, NOTHING))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def listed(ops: Sequence[Op]) -> Any:
    """As C takes them."""
    return (Op * len(ops))(*ops)
