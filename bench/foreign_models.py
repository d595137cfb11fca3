"""Imports from torch held against models of other packages, with random weights.

Usage: PYTHONPATH=/tmp/foreign python bench/foreign_models.py [FAMILY …] [--write]

The packages are wanted beside the environment, not in it:

    pip install --no-deps --target /tmp/foreign timm transformers torchvision segmentation_models_pytorch \\
        efficientnet_pytorch vit-pytorch open_clip_torch einops huggingface_hub tokenizers regex safetensors \\
        pyyaml tqdm ftfy requests httpx httpx2 truststore

What is absent is skipped with a word. Results are kept in build/foreign_models.jsonl, one line a model; --write
puts the table of all of them into docs/benchmarks.md.
"""

import argparse
import json
import os
import re
import select
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foreign_zoo import FAMILIES
from reporting import machine, table, write_section

HERE = Path(__file__).parent
RESULTS = HERE.parent / "build" / "foreign_models.jsonl"
SECONDS = 100
"""After so long, of the processor, a model counts as one that takes too long."""


def processor_seconds(process: int) -> float:
    """How long the processor has worked for it; the clock would count what else the machine does."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measured(family: str, names: list[str]) -> Iterator[dict[str, Any]]:
    """What each model gave, in a process that is ended when it takes too long or dies, and begun anew for the next."""
    remaining = list(names)
    while remaining:
        command = [sys.executable, "-W", "ignore", str(HERE / "foreign_model.py"), family, *remaining]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            begun = 0.0
            while remaining:
                if not select.select([process.stdout], [], [], 2)[0]:
                    if processor_seconds(process.pid) < begun + SECONDS:
                        continue
                    process.kill()
                    yield {"family": family, "model": remaining.pop(0), "why": f"longer than {SECONDS} s"}
                    break
                line = process.stdout.readline()
                if not line:
                    yield {"family": family, "model": remaining.pop(0), "why": "the process died"}
                    break
                if line.startswith('{"family"'):
                    remaining.pop(0)
                    begun = processor_seconds(process.pid)
                    yield dict(json.loads(line))
            process.kill()


def kept() -> dict[tuple[str, str], dict[str, Any]]:
    """The newest result of each model."""
    lines = RESULTS.read_text().splitlines() if RESULTS.exists() else []
    results = [json.loads(line) for line in lines]
    return {(result["family"], result["model"]): result for result in results}


def shortened(words: str) -> str:
    """A reason for a table: without the folder that a file stands in, and not too long."""
    return re.sub(r"\S*/(?=\w+/\w+\.py)", "…/", words).replace("|", "/").replace("\n", " ")[:220]


def section(results: list[dict[str, Any]]) -> str:
    """The text of the page."""
    built = [result for result in results if not result.get("why", "").startswith("not built")]
    good = [result for result in built if "why" not in result]
    counts = Counter(result["family"] for result in built)
    heads = ["family", "models", "imported", "other batch and size right", "seconds, median", "times export, median"]
    rows: list[list[object]] = []
    for family, count in sorted(counts.items()):
        ones = [result for result in good if result["family"] == family]
        seconds = sorted(result["seconds"] for result in ones)
        ratios = sorted(result["ratio"] for result in ones)
        right = sum(bool(result["elsewhere"]) for result in ones)
        middle = len(ones) // 2
        figures = [f"{seconds[middle]:.1f}", f"{ratios[middle]:.1f}"] if ones else ["–", "–"]
        rows.append([family, count, len(ones), right, *figures])
    worst = max((result["output"] for result in good), default=0.0)
    gradient = max((result["gradient"] for result in good), default=0.0)
    fixed = [result for result in good if result["notes"]]
    slow = [result for result in good if result["ratio"] > 3 and result["seconds"] > 20]
    return f"""## Models of other packages

By `bench/foreign_models.py`, on {machine()}, one thread: models as their packages build them, small configurations,
random weights, float32. {len(good)} of {len(built)} import. The largest error of an output is {worst:.1e} of its
largest value, that of a gradient by the input or a weight, beside autograd, {gradient:.1e}. Each is tried with another
batch, and another length or another size of pictures where the model itself takes them.

{table(heads, rows)}

Times are those of the processor, beside plain `torch.export` of the same module in the same process; {len(slow)} take
more than three times as long and more than 20 s.

Not imported:

{table(["model", "why"], [[f"{r['family']} {r['model']}", shortened(r["why"])] for r in built if "why" in r])}

Imported with an axis fixed that the model lets vary:

{table(["model", "what is said"], [[f"{r['family']} {r['model']}", shortened(r["notes"][0])] for r in fixed])}

All:

{table(
    ["model", "output", "gradient", "free axes", "elsewhere", "seconds", "times export"],
    [[f"{r['family']} {r['model']}", f"{r['output']:.0e}", f"{r['gradient']:.0e}", r["free"], r["elsewhere"] or "–",
      f"{r['seconds']:.1f}", f"{r['ratio']:.1f}"] for r in good],
)}
"""  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("families", nargs="*", help=f"of {', '.join(FAMILIES)}; FAMILY:NAME,NAME for single models")
    parser.add_argument("--write", action="store_true", help="write the table of all results")
    given = parser.parse_args()
    RESULTS.parent.mkdir(exist_ok=True)
    for wanted in given.families or ([] if given.write else list(FAMILIES)):
        family, _, one = wanted.partition(":")
        try:
            names = one.split(",") if one else list(FAMILIES[family].names())
        except ImportError as error:
            print(f"{family}: left out ({error})")
            continue
        for result in measured(family, names):
            print(json.dumps(result), flush=True)
            with RESULTS.open("a") as file:
                file.write(json.dumps(result) + "\n")
    if given.write:
        write_section("foreign models", section(list(kept().values())))


if __name__ == "__main__":
    main()
