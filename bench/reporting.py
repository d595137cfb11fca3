"""Tables of measurements, and their place in docs/benchmarks.md."""

import os
import platform
import re
from collections.abc import Sequence
from pathlib import Path

import torch

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
DATA = Path(__file__).parent.parent.parent / "shared" / "data" / "datasets"


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def machine() -> str:
    """What it ran on, in a line."""
    kind = torch.backends.cpu.get_cpu_capability()
    cpu = " ".join([platform.machine(), "CPU", *model()])
    return f"{len(os.sched_getaffinity(0))} cores of an {cpu} ({kind}), torch {torch.__version__}"


def model(path: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Which one it is, in words: of one name and one instruction set there are some that compute twice as fast."""
    facts = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line) if path.exists() else {}
    found = {name.strip(): value.strip() for name, value in facts.items()}
    words = {"vendor_id": "", "cpu family": "family ", "model": "model "}
    return [word + found[name] for name, word in words.items() if name in found]


def write_section(name: str, text: str, path: Path = PAGE) -> None:
    """Print the text, and put it in place of the section of that name in docs/benchmarks.md, or in another page."""
    print(text)
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text() if path.exists() else f"# {path.stem.capitalize()}\n"
    block = f"{begin}\n{text.strip()}\n{end}"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    page = pattern.sub(lambda _: block, page) if pattern.search(page) else f"{page.rstrip()}\n\n{block}\n"
    path.write_text(page)
