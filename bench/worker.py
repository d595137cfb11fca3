"""A process that answers one line with one line."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.processes import PIPE, started

ROOT = Path(__file__).parent.parent
PREFIXES = ("OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_")


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Ours, but of what concerns threads only the settings; a process with it finds the package and bench/."""
    rest = {name: value for name, value in os.environ.items() if not name.startswith(PREFIXES)}
    return {**rest, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "bench"))), **settings}


class Worker:
    """Python with these arguments, until the stack is left."""

    def __init__(self, arguments: Sequence[str], settings: Mapping[str, str], stack: ExitStack):
        command = [sys.executable, "-W", "ignore", *arguments]
        self.process: subprocess.Popen[str] = stack.enter_context(
            started(command, stdin=PIPE, stderr=None, env=environment(settings))
        )

    def told(self) -> str:
        """Its next line. Raises RuntimeError if it has ended."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(map(str, self.process.args))} ended with {self.process.wait()}")  # type: ignore[arg-type]
        return line.strip()

    def asked(self, question: str) -> str:
        """Its answer."""
        assert self.process.stdin is not None
        print(question, file=self.process.stdin, flush=True)
        return self.told()
