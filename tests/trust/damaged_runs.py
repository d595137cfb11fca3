"""Runs cases of damaged.py in processes that may die of them, and measures each."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

SECONDS, BYTES = 10.0, 2 * 10**9
"""Of work and memory, that a damaged file may take at most."""
PATIENCE = 20
"""Seconds of work after which a process ends itself."""
MOST = 5 * 10**9
"""Bytes with which it is ended."""


class Case(NamedTuple):
    """What came of a damaged file. fault: "" if nothing is wrong."""

    number: int
    kind: str
    seconds: float
    grown: int
    came: str
    fault: str


def tried(numbers: Sequence[int], seed: int) -> Iterator[Case]:
    """All these cases, with the processes that they need."""
    left = list(numbers)
    while left:
        with tempfile.TemporaryDirectory() as folder:
            program = [sys.executable, "-W", "ignore", "-m", "tests.trust.damaged_runs", folder, str(seed)]
            with subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                yield from _watched(process, left)


def _watched(process: "subprocess.Popen[str]", left: list[int]) -> Iterator[Case]:
    """The cases of one process, until it dies or is through."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    process.stdin.write(json.dumps(left))
    process.stdin.close()
    os.set_blocking(process.stdout.fileno(), False)
    text, kind = "", ""
    while True:
        is_over = process.poll() is not None
        with suppress(TypeError):
            text += process.stdout.read() or ""
        *lines, text = text.split("\n")
        for line in lines:
            said = json.loads(line)
            if isinstance(said, str):
                kind = said
                continue
            left.remove(said[0])
            yield Case(*said)
        if is_over:
            break
        if _resident(process.pid) > MOST:
            process.kill()
        time.sleep(0.02)
    if process.returncode and left:
        if not kind:
            raise RuntimeError(process.stderr.read())
        number = left.pop(0)
        how = signal.Signals(-process.returncode).name if process.returncode < 0 else process.stderr.read()[-800:]
        yield Case(number, kind, PATIENCE, MOST, "", f"the process died ({how})")


def _resident(pid: int) -> int:
    with suppress(OSError, IndexError, ValueError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def _peak() -> int:
    text = Path("/proc/self/status").read_text()
    return 1024 * int(text.split("VmHWM:")[1].split()[0])


def _one(number: int, seed: int, names: Sequence[str]) -> Case:
    from blockprop.errors import BlockpropError
    from tests.trust.damaged import KINDS

    name = names[number % len(names)]
    kind, rng = KINDS[name], random.Random(f"{seed} {number}")
    original = rng.choice(sorted(Path(name).iterdir()))
    path = Path("case") / original.name
    path.parent.mkdir(exist_ok=True)
    print(json.dumps(f"{name}, {original.name}"), flush=True)
    path.write_bytes(kind.damage(original.read_bytes(), rng))
    Path("/proc/self/clear_refs").write_text("5")
    before, start = _resident(os.getpid()), time.process_time()
    signal.setitimer(signal.ITIMER_PROF, PATIENCE)
    came, fault = "", ""
    try:
        kind.use(path)
    except BlockpropError as error:
        came = f"{type(error).__name__}: {error}"
    except MemoryError:
        fault = "MemoryError"
    except BaseException as error:
        import traceback

        where = traceback.extract_tb(error.__traceback__)[-3:]
        fault = (
            f"{type(error).__name__}: {str(error)[:300]} at {[f'{Path(f.filename).name}:{f.lineno}' for f in where]}"
        )
    signal.setitimer(signal.ITIMER_PROF, 0)
    seconds, grown = time.process_time() - start, max(0, _peak() - before)
    path.unlink(missing_ok=True)
    if not fault and seconds > SECONDS:
        fault = f"{seconds:.1f} s"
    if not fault and grown > BYTES:
        fault = f"{grown / 1e9:.1f} GB"
    return Case(number, f"{name}, {original.name}", seconds, grown, came[:300], fault)


def _main(folder: str, seed: int) -> None:
    from tests.trust import damaged

    warnings.simplefilter("ignore")
    numbers, names = json.loads(sys.stdin.read()), list(damaged.KINDS)
    os.chdir(folder)
    damaged.prepare()
    for number in numbers:
        print(json.dumps(_one(number, seed, names)), flush=True)


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]))
