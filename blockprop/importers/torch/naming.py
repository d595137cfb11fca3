"""Names of nodes, and the source line of an operator, from what torch.export notes about it."""

import re
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

from torch import fx

IGNORED = {
    "_assert_tensor_metadata", "_assert_scalar", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size",
    "lazy_load_decompositions", "_vmap_increment_nesting", "_vmap_decrement_nesting",
}  # fmt: skip
"""Operators that only check something."""
COMPARISONS = ("ge", "le", "gt", "lt", "eq", "ne")
"""Python's, of sizes and numbers; in the graph torch's own for tensors have these names, too."""
NAMELESS = {"sym_size", "getitem", "zeros", "contiguous", "detach", "alias", "clone", *IGNORED}
"""Operators that do not count when a module has one operator alone."""


WEIGHTED = {
    "linear", "embedding", "batch_norm", "layer_norm", "group_norm", "instance_norm", "lstm", "gru", "prelu",
    *(f"conv{kind}{axes}d" for kind in ("", "_transpose") for axes in (1, 2, 3)),
}  # fmt: skip
"""Operators for which the module that calls them is named, even if it works out its weight with others before."""


class Names:
    """Names of nodes by the path of the module that calls the operator."""

    def __init__(self, program: fx.Graph, leaves: set[str]):
        self._leaves = leaves
        self._counts = Counter(stack_of(node) for node in program.nodes if operator_name(node) not in NAMELESS)

    def of(self, node: fx.Node, weights: list[str]) -> str:
        """ "layer1.0.relu" for a module's only operator or the one that has its weights, else "layer1.0.add"."""
        key, path = stack_of(node), path_of(stack_of(node))
        for weight in weights:
            owner = re.sub(r"[._]?(weight|weight_ih_l0|running_mean)$", "", weight)
            if owner != weight and (owner == path or owner.startswith(f"{path}." if path else "")):
                return owner
        name = operator_name(node).strip("_")
        if path in self._leaves and (self._counts[key] == 1 or name in WEIGHTED):
            return path
        return f"{path}.{name}" if path else name


def operator_name(node: fx.Node) -> str:
    if node.op != "call_function":
        return "getitem"
    target: Any = node.target
    return target._schema.name.split("::")[1] if hasattr(target, "_schema") else target.__name__


def why_not(name: str) -> str:
    """Why a function of Python's that the module calls cannot be imported."""
    if name == "_add_batch_dim":
        return "torch.vmap adds an axis that cannot be followed; write it out, as x[:, None] does"
    return "arithmetic of this kind with a free size, or with numbers in the data"


def stack_of(node: fx.Node) -> str:
    """The innermost module's call: its path, with "@1" and so on for further calls."""
    stack = node.meta.get("nn_module_stack") or {}
    last = list(stack.items())[-1:]
    return last[0][0].rsplit("__", 1)[-1] + "|" + last[0][1][0] + _call_number(last[0]) if last else "|"


def _call_number(entry: Any) -> str:
    match = re.search(r"@\d+$", entry[0])
    return match.group() if match else ""


def path_of(stack: str) -> str:
    path = re.sub(r"@\d+", "", stack.split("|")[1])
    return "" if path.startswith("_empty") else path.removeprefix("L['self'].").removeprefix("L['self']")


def place_of(node: fx.Node) -> str:
    """The source line of the module: file:line and its text."""
    lines = (node.meta.get("stack_trace") or "").rstrip().splitlines()
    for i in range(len(lines) - 1, -1, -1):
        if match := re.match(r'\s*File "(.+)", line (\d+)', lines[i]):
            text = lines[i + 1].strip() if i + 1 < len(lines) else ""
            return f"{match[1]}:{match[2]} `{text}`"
    return ""


def reason_of(error: Exception) -> str:
    """What an error says, in a line, and the line of the module that it came from, the innermost outside of torch."""
    words = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return f"{words} at {frames[-1].filename}:{frames[-1].lineno} `{frames[-1].line}`" if frames else words


def _is_ours(file: str) -> bool:
    return "/torch/" in file or file.startswith((str(Path(__file__).parents[2]), "<"))


def body_name(node: fx.Node) -> str:
    """The name of the region that the node runs."""
    bodies = [a for a in node.args if isinstance(a, fx.Node) and a.op == "get_attr"]
    return str(bodies[0].target) if bodies else node.name
