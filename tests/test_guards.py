"""Rules about the code itself: which way imports point, no autograd, no pickle, every public name real."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "blockprop"
FILES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    {"errors", "version", "python_files"},
    {"block", "products", "files", "differences", "nesting", "fetching", "published"},
    {"blocks", "plan", "trace"},
    {"network", "operators"},
    {"interop"},
    {
        "architectures",
        "objectives",
        "rules",
        "rectifiers",
        "storage",
        "shipped",
        "data",
        "dataset",
        "encoding",
        "arrays",
        "tables",
    }
    | {"image_files"},
    {"check", "networks", "evaluation", "descent", "checkpoints", "interruption", "layout", "diagram", "weights"}
    | {"costs", "pictures", "preprocessing", "augmentation", "averaging"},
    {"run", "plots", "report", "importers", "exporters", "visualize"},
    {"training"},
    {"examine"},
    {"demo", "showcase", "console"},
    {"commands"},
    {"cli"},
]
"""A file may import from its own layer and from those before it."""


def layer(module: str) -> int:
    """The number of the layer of "blockprop.blocks.linear" and the like."""
    part = module.split(".")[1]
    for number, names in enumerate(LAYERS):
        if part in names:
            return number
    raise AssertionError(f"{module} stands in no layer: add it to LAYERS")


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            found.append(node.module or "")
            found += [f"{node.module}.{name.name}" for name in node.names if node.module == "blockprop"]
    return found


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_point_one_way(path: Path) -> None:
    if module_of(path) == "blockprop" or path.name == "__main__.py":
        return
    here = layer(module_of(path))
    for name in imports(path):
        if name.startswith("blockprop."):
            assert layer(name) <= here, f"{module_of(path)} imports {name}, which is above it"


def autograd_in(path: Path) -> list[str]:
    """Every use of autograd, as "line: what"."""
    forbidden_names = {"requires_grad", "requires_grad_", "enable_grad", "set_grad_enabled", "retain_graph", "grad_fn"}
    found = [name for name in imports(path) if name.startswith(("torch.autograd", "torch.func"))]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            text, is_backward = ast.unparse(node), node.attr == "backward" and not _is_ours(node)
            if is_backward or node.attr in forbidden_names or text in {"torch.autograd", "torch.func"}:
                found.append(f"{node.lineno}: {text}")
    return found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_autograd_but_in_interop(path: Path) -> None:
    if path != PACKAGE / "interop.py":
        assert not autograd_in(path), path.name


def test_the_guard_sees_the_autograd_in_interop() -> None:
    found = " ".join(autograd_in(PACKAGE / "interop.py"))
    for use in ("torch.autograd", "torch.enable_grad", "requires_grad", "requires_grad_"):
        assert use in found


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_pickle(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Attribute):
            assert ast.unparse(node) not in {"torch.load", "torch.save"}, path.name
    for name in imports(path):
        assert not name.startswith(("pickle", "dill", "cloudpickle", "joblib")), path.name
        assert name not in {"torch.load", "torch.save"}


def _is_ours(node: ast.Attribute) -> bool:
    return ast.unparse(node.value).split(".")[-1] in {"network", "self", "Network"}


def test_nothing_is_fetched_but_by_fetching() -> None:
    for path in FILES:
        allowed = ("urllib.request", "http.client") if path == PACKAGE / "fetching.py" else ()
        for name in imports(path):
            online = name.startswith(("urllib.request", "requests", "http.client", "socket", "httpx"))
            assert not online or name.startswith(allowed), path.name
