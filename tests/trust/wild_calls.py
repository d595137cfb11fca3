"""Calls of torch's operators with wild arguments, each in a process that may die of it.

A network file names an operator and its arguments; whatever stands there, it must end in a result or in a sentence.
"""

import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from blockprop.engine.network import Network
from blockprop.engine.plan import Node
from blockprop.errors import BlockpropError, SettingError
from blockprop.interop.allowed import ALLOWED
from blockprop.interop.opaque import Opaque
from blockprop.interop.operators import NAMED, TO_THE_END, operator_named

LARGEST = 2**24
"""Numbers of an output to go back from."""
SECONDS = 20
"""A call may take; then the process ends itself."""
MEMORY = 6 * 2**30
"""Bytes of addresses that the process may have; torch itself takes 1 to 2 GB of them."""
SIZES = (0, 1, 1, 2, 2, 3, 3, 4, 5, 8)
PLACES = (-1, 0, 1, 1, 2, 2, 3, -2, -3, 4, 7, 16, 100, 2**31 - 1, -(2**31), 10**6, TO_THE_END)
FLOATS = (0.0, 0.5, 1.0, -1.0, 2.5, 1e-30, 1e30, -1e300, 1e300, float("inf"), float("-inf"), float("nan"))
TEXTS = {
    "approximate": ("none", "tanh"),
    "equation": ("ab,bc->ac", "ab->ba", "...a->...", "ab,cd->abcd", "aa->a", "ab,ab->", "->", ",,->", "ab->abab"),
    "indexing": ("ij", "xy"),
    "mode": ("constant", "reflect", "replicate", "circular", "floor", "trunc"),
    "norm": ("backward", "ortho", "forward", "fro", "nuc"),
    "padding": ("same", "valid"),
    "reduce": ("sum", "mean", "prod", "amax", "amin"),
    "side": ("left", "right"),
    "UPLO": ("U", "L"),
    "ord": ("fro", "nuc"),
}  # fmt: skip
LIMITS = {dtype: torch.iinfo(dtype) for dtype in (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)}


class Death(NamedTuple):
    """A call of which the process died."""

    number: int
    signal: str
    call: str


def titles() -> list[str]:
    """All operators that may be called, in one order."""
    found = []
    for schema in torch._C._jit_get_all_schemas():
        if schema.name.startswith("aten::") and schema.name[6:] in ALLOWED:
            title = f"aten.{schema.name[6:]}.{schema.overload_name or 'default'}"
            try:
                operator_named(title)
            except SettingError:
                continue
            found.append(title)
    return sorted(found)


class Wild:
    """One wild call: everything follows from the generator."""

    def __init__(self, title: str, rng: random.Random):
        self.title, self.rng = title, rng
        self.is_tame = rng.random() < 0.4
        self.shape = tuple(rng.choice(SIZES) for _ in range(rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, 5))))
        if self.is_tame:
            self.shape = (rng.choice((2, 3, 4)),) * rng.choice((1, 2, 2, 3, 4))
        self.dtype = rng.choice((torch.float32, torch.float64, *([] if self.is_tame else NAMED["dtype"].values())))
        self.inputs: list[Tensor] = []
        schema = operator_named(title)._schema
        self.arguments: list[Any] = []
        self.keywords: dict[str, Any] = {}
        for argument in schema.arguments:
            if argument.has_default_value() and rng.random() < (0.9 if argument.kwarg_only else 0.4):
                continue
            self.keywords[argument.name] = self.value(str(argument.real_type), argument.name)
        kinds = [str(result.type) for result in schema.returns]
        self.count = rng.randint(1, 4) if kinds == ["List[Tensor]"] else len(kinds)

    def value(self, kind: str, name: str) -> Any:
        """For an argument of this type."""
        rng = self.rng
        if kind.startswith("Optional["):
            return None if rng.random() < 0.4 else self.value(kind[9:-1], name)
        if kind.startswith("List["):
            count = rng.choice((0, 1, 1, 2, 2, 2, 3, 3, 4, len(self.shape), len(self.shape), 9))
            return [self.value(kind[5:-1], name) for _ in range(count)]
        if kind == "Tensor" or (kind == "number" and rng.random() < 0.05):
            self.inputs.append(self.tame(name) if self.is_tame else self.tensor())
            return {"input": len(self.inputs) - 1}
        if kind in ("int", "number"):
            return rng.choice(PLACES[:6] if self.is_tame else PLACES[:9] if rng.random() < 0.6 else PLACES)
        named = {"ScalarType": "dtype", "MemoryFormat": "memory_format"}.get(kind)
        if named:
            return {named: rng.choice(list(NAMED[named]))}
        choices = {"float": FLOATS, "bool": (True, False), "str": TEXTS.get(name, ("none",))}
        return rng.choice(choices[kind])

    def tame(self, name: str) -> Tensor:
        """That fits the others, so that the kernels are reached."""
        is_place = name in ("index", "indices", "target", "repeats", "sorter")
        if (
            name in ("weight", "bias", "running_mean", "running_var", "batch2", "vec", "vec2")
            and self.rng.random() < 0.7
        ):
            return torch.rand(self.shape[-1:], dtype=self.dtype)
        return torch.randint(0, self.shape[0], self.shape) if is_place else torch.rand(self.shape, dtype=self.dtype)

    def tensor(self) -> Tensor:
        """Of the call's shape and type, or one near it, or any."""
        rng, shape = self.rng, list(self.shape)
        chance = rng.random()
        if chance < 0.1:
            shape = [rng.choice(SIZES) for _ in range(rng.randint(0, 5))]
        elif chance < 0.3 and shape:
            shape[rng.randrange(len(shape))] = rng.choice(SIZES)
        elif chance < 0.4:
            shape = shape[rng.randint(0, len(shape)) :]
        elif chance < 0.5:
            shape = shape[:1]
        dtype = self.dtype if rng.random() < 0.6 else rng.choice((torch.int64, *NAMED["dtype"].values()))
        x = torch.randint(-2, 6, shape)
        if rng.random() < 0.3 and x.numel():  # extremes, at some places
            limits = LIMITS[dtype if dtype in LIMITS else torch.int64]
            extremes = [limits.min, limits.max, -1, 0, 10**6 % limits.max]
            for _ in range(3):
                x.view(-1)[rng.randrange(x.numel())] = rng.choice(extremes)
        x = x.to(dtype)
        if dtype.is_floating_point or dtype.is_complex:
            x = x + torch.rand(shape).to(dtype)
            if rng.random() < 0.3 and x.numel():
                x.view(-1)[rng.randrange(x.numel())] = torch.tensor(rng.choice(FLOATS), dtype=torch.float64).to(dtype)
        return x.transpose(0, -1) if x.dim() > 1 and rng.random() < 0.1 else x

    def __str__(self) -> str:
        tensors = ", ".join(f"{str(x.dtype).removeprefix('torch.')} {tuple(x.shape)} {x.tolist()}" for x in self.inputs)
        return f"{self.title} {self.keywords} of {tensors}"

    def run(self) -> bool:
        """Forward, and back; whether both went well. Whatever is no BlockpropError is a fault."""
        try:
            block = Opaque(self.title, (), self.keywords, self.count)
            block.from_file = True
            names = [f"x{i}" for i in range(len(self.inputs))]
            network = Network([Node("y", block, tuple(names))], names)
            trace = network.forward(*self.inputs)
            if any(trace[key].numel() > LARGEST for key in network.outputs):  # views that take no memory
                return True
            seeds = {key: torch.ones_like(trace[key]) for key in network.outputs}
            network.backward(trace, seeds, "inputs")
        except BlockpropError:
            return False
        return True


def wild(number: int, seed: int, among: list[str]) -> Wild:
    """The call of this number: the operators take turns."""
    torch.manual_seed(number)
    return Wild(among[number % len(among)], random.Random(f"{seed} {number}"))


def deaths(first: int, last: int, seed: int = 0) -> Iterator[Death]:
    """Of the calls from first to before last, those that end a process, or take too long."""
    among = titles()
    with tempfile.TemporaryDirectory() as folder:
        note = Path(folder) / "note"
        while first < last:
            note.write_text(str(first))
            command = [sys.executable, "-m", "tests.trust.wild_calls", *map(str, (first, last, seed, note))]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                return
            number = int(note.read_text().split()[0])
            how = signal.Signals(-done.returncode).name if done.returncode < 0 else done.stderr.strip()[-300:]
            yield Death(number, how, str(wild(number, seed, among))[:600])
            first = number + 1


def _main(first: int, last: int, seed: int, note: str) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    torch.set_num_threads(1)
    among = titles()
    file = os.open(note, os.O_WRONLY)
    for number in range(first, last):
        os.pwrite(file, f"{number} \n".encode(), 0)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        wild(number, seed, among).run()


if __name__ == "__main__":
    torch.set_warn_always(False)
    _main(*map(int, sys.argv[1:4]), sys.argv[4])
