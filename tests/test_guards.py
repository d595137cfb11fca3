"""Rules about the code itself: which way imports point, no autograd, no pickle, nothing fetched but on request."""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.conftest import classes_tested_in

PACKAGE = Path(__file__).parent.parent / "blockprop"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = [
    "errors version",
    "engine native",
    "blocks",
    "interop preparing",
    "rules saving",
    "networks pictures training importers exporters",
    "data visualize calculus",
    "reports",
    "learning",
    "commands",
    "cli",
]
"""A file imports from its own room or from rooms on the lines before it; two rooms on one line know nothing of each
other."""
DOORS = {"blockprop", "blockprop.__main__"}
"""What stands in no room: they open all."""


def floor_of(room: str) -> int:
    """The number of a room's line."""
    for number, names in enumerate(ROOMS):
        if room in names.split():
            return number
    raise AssertionError(f"blockprop/{room} is no room: put it into a room, or a new room into ROOMS of test_guards.py")


def room_of(module: str) -> str:
    return module.split(".")[1]


def module_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path) -> list[str]:
    """All that is imported, wherever it stands in the file: modules, and for `from m import n` m.n, too."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            names.append(node.module or "")
            names += [f"{node.module}.{name.name}" for name in node.names]
    return names


MODULES = {module_of(path): path for path in FILES}


def arrows_of(path: Path) -> set[str]:
    """The modules of the package from which a file takes something; `from room import file` takes the file alone."""
    targets = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            targets |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            files = {f"{node.module}.{name.name}" for name in node.names}
            targets |= {file if file in MODULES else str(node.module) for file in files}
    return targets & MODULES.keys()


ARROWS = {module: arrows_of(path) for module, path in MODULES.items()}
"""For each module the modules of the package that it imports."""


def upward(arrows: dict[str, set[str]]) -> Iterator[str]:
    """Each import that does not go to the own room or to one above it in ROOMS."""
    for module, targets in arrows.items():
        for target in sorted(targets) if module not in DOORS else ():
            if target == "blockprop":
                yield f"{module} imports from blockprop as a whole: import the file that has the name"
                continue
            here, there = room_of(module), room_of(target)
            if here != there and floor_of(there) >= floor_of(here):
                yield f"{module} imports {target}: {here} may not import {there}"


def circle(arrows: dict[str, Iterable[str]]) -> list[str]:
    """A circle of imports between files, if there is one."""
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def own_room(arrows: dict[str, set[str]]) -> Iterator[str]:
    """Each file that imports its own room as a whole, whose __init__ imports the file."""
    for module, targets in arrows.items():
        for target in targets:
            if module.startswith(f"{target}.") and module not in DOORS and target != "blockprop":
                yield f"{module} imports {target}, the room in which it lies: import the file that has the name"


def test_imports_point_one_way() -> None:
    assert list(upward(ARROWS)) == []


def test_no_circle_of_imports_even_inside_a_room() -> None:
    assert circle({module: targets - {module} for module, targets in ARROWS.items()}) == []


def test_no_file_imports_the_room_it_lies_in() -> None:
    assert list(own_room(ARROWS)) == []


def test_each_room_says_in_a_sentence_what_it_is() -> None:
    for folder in sorted({path.parent for path in FILES}):
        sentence = ast.get_docstring(ast.parse((folder / "__init__.py").read_text()))
        assert sentence, f"{folder.name}/__init__.py says nothing"


KEPT = {
    "training": "fit Record augmentations evaluate predict GradientDescent Averages",
    "networks": "build_network blocks_in BUILDERS HIDDEN STAGES MOST_UNITS WIDEST",
    "data": "NAMES Data Dataset TableEncoder read_data TABLES",
    "pictures": "Preprocessing beside picture_channels preprocessing_of read_classes read_photo read_preprocessing "
    "with_preprocessing OTHER_SIZE reading_frame",
    "interop": "to_torch frozen BlockModule NetworkModule Opaque",
    "rules": "NAMED Coverage Rules guided deconvnet redirected NAMED_RULES",
}
"""What people have imported from these rooms since they were files."""


@pytest.mark.parametrize("room", KEPT)
def test_what_people_have_imported_stays(room: str) -> None:
    module = importlib.import_module(f"blockprop.{room}")
    assert [name for name in KEPT[room].split() if not hasattr(module, name)] == []


def test_the_tests_of_a_class_are_found_by_its_name() -> None:
    tests = Path(__file__).parent
    assert "MaxPool2d" in classes_tested_in(tests / "blocks" / "test_max_pooling.py")
    assert "Rules" in classes_tested_in(tests / "rules" / "test_composites.py")
    assert not classes_tested_in(tests / "blocks" / "test_blocks.py")


def test_the_architecture_page_has_the_same_list() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text().partition("\n## ")[0]
    rows = [
        re.findall(r"`(\w+)`", row.split("|")[1]) for row in page.splitlines() if row.startswith("| ") and "`" in row
    ]
    assert [set(row) for row in rows] == [set(line.split()) for line in ROOMS]


def test_no_two_public_classes_have_one_name() -> None:
    """Nor a class and a name for a type, which reads as one: `Step = Callable[[int], object]`."""
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        for node in ast.parse(path.read_text()).body:
            names = [node.name] if isinstance(node, ast.ClassDef) else []
            if isinstance(node, ast.Assign) and not isinstance(node.value, ast.Constant | ast.Call):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
            for name in names:
                if re.fullmatch(r"[A-Z]\w*[a-z]\w*", name):
                    places.setdefault(name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


def test_the_root_shows_the_rooms_and_the_doors_alone() -> None:
    rooms = {name for line in ROOMS for name in line.split()}
    assert {path.stem for path in PACKAGE.glob("*.py")} == {"__init__", "__main__", "cli", "errors", "version"}
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == rooms - {"cli", "errors", "version"}


def test_the_guards_see_what_they_forbid() -> None:
    up = {"blockprop.engine.network": {"blockprop.blocks.linear"}}
    assert list(upward(up)) == [
        "blockprop.engine.network imports blockprop.blocks.linear: engine may not import blocks"
    ]
    assert list(upward({"blockprop.rules.named": {"blockprop.saving.files"}}))  # two rooms on one line
    assert not list(upward({"blockprop.rules.named": {"blockprop.rules.coverage", "blockprop.blocks.linear"}}))
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"a"}})
    assert list(own_room({"blockprop.training.run": {"blockprop.training"}}))
    assert list(upward({"blockprop.engine.network": {"blockprop"}}))  # from blockprop import fit
    with pytest.raises(AssertionError, match="no room"):
        list(upward({"blockprop.no_such_room.thing": {"blockprop.errors"}}))


def autograd_in(path: Path) -> list[str]:
    """Every use of autograd, as "line: what"."""
    forbidden_names = {"requires_grad", "requires_grad_", "enable_grad", "set_grad_enabled", "retain_graph", "grad_fn"}
    modules = ("torch.autograd", "torch.func.", "torch.enable_grad", "torch.set_grad_enabled")
    uses = [name for name in imports(path) if name.startswith(modules) or name == "torch.func"]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.keyword) and node.arg in forbidden_names:
            uses.append(f"{node.value.lineno}: {node.arg}=")
        if isinstance(node, ast.Attribute):
            text, is_backward = ast.unparse(node), node.attr == "backward" and not _is_ours(node)
            if is_backward or node.attr in forbidden_names or text in {"torch.autograd", "torch.func"}:
                uses.append(f"{node.lineno}: {text}")
    return uses


def test_the_kernels_of_backward_passes_stand_in_one_place() -> None:
    def named(path: Path) -> list[str]:
        nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
        texts = [(node.lineno, ast.unparse(node)) for node in nodes]
        return [f"{line}: {text}" for line, text in texts if text.startswith("torch.ops.") and "_backward" in text]

    assert not {str(path): uses for path in FILES if path.name != "kernels.py" and (uses := named(path))}
    assert any("_backward" in line for line in (PACKAGE / "blocks" / "kernels.py").read_text().splitlines())


def test_no_autograd_but_in_interop() -> None:
    offenders = {
        str(path): uses for path in FILES if PACKAGE / "interop" not in path.parents and (uses := autograd_in(path))
    }
    assert offenders == {}


def test_the_guard_sees_the_autograd_in_interop() -> None:
    uses = " ".join(use for path in FILES if path.parent.name == "interop" for use in autograd_in(path))
    for use in ("torch.autograd", "torch.enable_grad", "requires_grad", "requires_grad_"):
        assert use in uses


def test_no_pickle() -> None:
    unsafe = ("pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "torch.serialization")
    readers = ("load", "save", "jit.load", "read_pickle", "to_pickle")
    offenders = []
    for path in FILES:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = imports(path)
        offenders += [
            f"{path}: {name}" for name in names if name.startswith(unsafe) or name in ("torch.load", "torch.save")
        ]
        attributes = [ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)]
        offenders += [f"{path}: {a}" for a in attributes if a.partition(".")[2] in readers and a[0] in "tp"]
        keywords = [node for node in nodes if isinstance(node, ast.keyword) and node.arg == "allow_pickle"]
        offenders += [f"{path}: {ast.unparse(k)}" for k in keywords if ast.unparse(k.value) != "False"]
    assert offenders == []


def _is_ours(node: ast.Attribute) -> bool:
    return ast.unparse(node.value).split(".")[-1] in {"network", "self", "Network"}


ONLINE = (
    *("urllib.request", "urllib3", "requests", "http.client", "socket", "httpx"),
    *("aiohttp", "ftplib", "torch.hub", "subprocess"),
)


ALLOWED = {"networks/fetching.py": ("urllib.request", "http.client"), "native/building.py": ("subprocess",)}
"""What fetches, and what calls a compiler."""


def test_nothing_is_fetched_but_by_fetching() -> None:
    for path in FILES:
        allowed = ALLOWED.get(path.relative_to(PACKAGE).as_posix(), ())
        for name in imports(path):
            online = name.startswith(ONLINE)
            assert not online or name.startswith(allowed), path.name
