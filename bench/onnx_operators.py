"""Which ONNX operators from_onnx reads, and how many of the standard's own node tests it passes: into docs/onnx.md.

Usage: python bench/onnx_operators.py
"""

import re
import sys
import tempfile
from collections import Counter
from pathlib import Path

import onnx
import onnxruntime
from reporting import table

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))
from blockprop.errors import BlockpropError  # noqa: E402
from blockprop.importers.onnx.control import CONTROLS  # noqa: E402
from tests.importers.onnx_nodes import (  # noqa: E402
    NEWEST,
    OLDEST,
    Case,
    count_of_all,
    imported,
    older_cases,
    run,
    verify,
    versions,
)
from tests.importers.onnx_oracles import (  # noqa: E402
    CASES,
    DEFINED,
    MINE,
    SUPPORTED,
    by_onnxruntime,
    differentiable,
    is_departure,
)

PAGE = ROOT / "docs" / "onnx.md"


def outcome(model: onnx.ModelProto, inputs: dict, expected: list, folder: Path) -> str:
    """What comes of a case: right or refused; AssertionError for a wrong number."""
    try:
        found = run(imported(model, inputs, folder), inputs)
    except BlockpropError:
        return "refused"
    verify(found, expected)
    return "right"


def count(folder: Path) -> tuple[dict[str, Counter], dict[int, Counter]]:
    """How many cases of each operator, and of each opset from 7 to 21, have which outcome."""
    by_operator: dict[str, Counter] = {}
    by_opset: dict[int, Counter] = {opset: Counter() for opset in range(OLDEST, NEWEST + 1)}
    for name, cases in MINE.items():
        counter = by_operator[name] = Counter()
        for case in cases:
            counter[outcome(case.model, case.inputs, case.outputs, folder)] += 1
            counter["back"] += goes_back(case, folder)
            for version, model, inputs in older_cases(case):
                expected = None if is_departure(case.name) else by_onnxruntime(model, inputs)
                if expected is not None:
                    found = outcome(model, inputs, expected, folder)
                    counter[f"older {found}"] += 1
                    for opset in opsets_of(name, version):
                        by_opset[opset][found] += 1
    return by_operator, by_opset


def goes_back(case: Case, folder: Path) -> bool:
    """Whether the test suite compares its backward pass with finite differences."""
    try:
        network = imported(case.model, case.inputs, folder)
        return differentiable(network, {name: case.inputs[name] for name in network.inputs})
    except BlockpropError:
        return False


def opsets_of(operator: str, version: int) -> range:
    """The opsets from 7 to 21 that have the operator in this version."""
    later = [since for since in versions(operator) if since > version]
    return range(max(version, OLDEST), min([*later, NEWEST + 1]))


def _versions(name: str) -> str:
    if name in SUPPORTED:
        return ", ".join(map(str, SUPPORTED[name]))
    return "written out" if name in CONTROLS else "by its definition"


def main() -> None:
    onnxruntime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as folder:
        by_operator, by_opset = count(Path(folder))
    rows = [
        [
            name,
            _versions(name),
            by_operator.get(name, Counter())["right"],
            by_operator.get(name, Counter())["refused"] or "",
            by_operator.get(name, Counter())["older right"] or "",
            by_operator.get(name, Counter())["back"] or "",
        ]
        for name in sorted({*SUPPORTED, *CONTROLS, *(name for name in DEFINED if by_operator.get(name))})
    ]
    total = sum(by_operator.values(), Counter())
    heads = ["operator", "versions", "node tests right", "refused", "in older versions right", "backward checked"]
    rows.append(["**all**", "", total["right"], total["refused"], total["older right"], total["back"]])
    opsets = [[kind, *(counter[kind] for counter in by_opset.values())] for kind in ("right", "refused")]
    written_out = len(CASES["expanded"])
    section = "\n\n".join(
        [
            f"By `bench/onnx_operators.py`, with onnx {onnx.__version__} and onnxruntime {onnxruntime.__version__}: "
            f"{len(SUPPORTED)} operators of the standard, and {len(DEFINED & by_operator.keys())} that it defines by "
            f"others. Of its {count_of_all()} node tests {total['right']} are right; the rest is refused, by name and "
            "reason.",
            table(heads, rows),
            f"By opset, where onnxruntime says what is right (and {written_out} cases more that define one operator by "
            "others):",
            table(["opset", *by_opset], opsets),
        ]
    )
    mark = "<!-- operators -->"
    head = re.split(mark, PAGE.read_text())[0]
    PAGE.write_text(f"{head}{mark}\n\n{section}\n")


if __name__ == "__main__":
    main()
