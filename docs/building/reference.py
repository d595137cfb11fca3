"""The reference of every block, from its docstring, its code, its rows in tests/cases/, and the importers' tables."""

import inspect
import re
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from blockprop.blocks import BLOCKS
from blockprop.engine.block import Block
from blockprop.engine.check import check_block
from blockprop.learning import formulas_of
from building.imported import importing
from tests.blocks.running import made
from tests.cases import CASES, Case

METHODS = ("forward", "propagate", "gradients", "both")


def write_reference(folder: Path) -> None:
    """A page for each file of blockprop/blocks/ that holds blocks, and one that lists them all.

    GradientError if a block fails its check.
    """
    folder.mkdir()
    cases: dict[str, list[Case]] = {}
    for case in CASES:
        cases.setdefault(type(case.make()).__name__, []).append(case)
    subjects: dict[str, list[type[Block]]] = {}
    for block in BLOCKS.values():
        subjects.setdefault(block.__module__, []).append(block)
    names = sorted(subjects)
    pages = [module.rpartition(".")[2] for module in names]
    for module, page in zip(names, pages, strict=True):
        text = "\n".join(_page(module, subjects[module], cases))
        (folder / f"{page}.md").write_text(text, "utf-8")
    (folder / "index.md").write_text("\n".join(_index(pages)), "utf-8")


def title_of(module: str) -> str:
    """What a subject is called: as its file, "Max pooling"; a file with a block's name as the block, "GRU"."""
    name = module.rpartition(".")[2]
    return {block.lower(): block for block in BLOCKS}.get(name) or name.replace("_", " ").capitalize()


def _index(pages: list[str]) -> Iterator[str]:
    yield f"# Every block\n\nAll {len(BLOCKS)} blocks: formulas of both passes, settings, code, the check of their"
    yield "derivatives, which is run when this site is built, and the operators of torch and ONNX whose import uses"
    yield "them.\n"
    yield "| block | what it is |\n| --- | --- |"
    for name, block in BLOCKS.items():
        page = block.__module__.rpartition(".")[2]
        yield f"| [{name}]({page}.md#{name.lower()}) | {_escaped(formulas_of(block).sentence)} |"
    yield "\n```{toctree}\n:hidden:\n"
    yield from pages
    yield "```"


def _page(module: str, blocks: list[type[Block]], cases: dict[str, list[Case]]) -> Iterator[str]:
    sentence = " ".join((inspect.getdoc(sys.modules[module]) or "").split("\n\n")[0].split())
    yield f"# {title_of(module)}\n\n{_escaped(sentence)}\n\n`{module.replace('.', '/')}.py`\n"
    for block in blocks:
        yield from _section(block, cases[block.__name__])


def _section(block: type[Block], cases: list[Case]) -> Iterator[str]:
    formulas = formulas_of(block)
    yield f"## {block.__name__}\n\n{_escaped(formulas.sentence)}\n"
    yield from _fenced(f"{block.__name__}{_settings(block)}", "python")
    for words, formula in (("Forward", formulas.forward), ("Back", formulas.back)):
        if formula:
            yield f"**{words}**\n"
            yield from _fenced(formula)
    if rest := _rest(block):
        yield "**Shapes, settings, errors**\n"
        yield from _fenced(rest)
    yield from _folded("The code", _fenced("\n\n".join(sources(block)), "python"))
    yield from _folded(*_checked(cases))
    if found := importing(block.__name__):
        yield "**Used in the import of**\n"
        yield from (f"- {where}: {', '.join(f'`{name}`' for name in names)}" for where, names in found.items() if names)
    yield ""


def _settings(block: type[Block]) -> str:
    if block.__init__ is object.__init__:
        return "()"
    signature = inspect.signature(block)
    plain = [each.replace(annotation=each.empty) for each in signature.parameters.values()]
    return str(signature.replace(parameters=plain, return_annotation=signature.empty))


def _rest(block: type[Block]) -> str:
    """What the docstring says apart from the sentence and the formulas."""
    formulas = formulas_of(block)
    _, *others = re.split(r"\n\s*\n", inspect.cleandoc(block.__doc__ or ""))
    said = formulas.forward + formulas.back
    return "\n\n".join(part for part in others if inspect.cleandoc(part) not in said)


def sources(block: type[Block]) -> Iterator[str]:
    """The code of both passes, and of the functions of the blocks' room that they call."""
    called: dict[str, Callable[..., object]] = {}
    for name in METHODS:
        method = getattr(block, name)
        if method is getattr(Block, name):
            continue
        yield textwrap.dedent(inspect.getsource(method)).rstrip()
        for word in method.__code__.co_names:
            function = method.__globals__.get(word)
            if inspect.isfunction(function) and function.__module__.startswith("blockprop.blocks."):
                called[word] = function
    for function in called.values():
        yield inspect.getsource(function).rstrip()


def _checked(cases: list[Case]) -> tuple[str, list[str]]:
    """The check report of a block's first row, and in how many others it came out right."""
    reports = []
    for case in cases:
        if case.differentiable:
            torch.manual_seed(0)
            reports.append(check_block(made(case), *case.tensors(), training=case.training).verify())
    if not reports:
        return "Check: nothing goes back through this block", []
    worst = max(report.error for report in reports)
    inputs = ", ".join(str(tuple(x.shape)) for x in next(case for case in cases if case.differentiable).tensors())
    words = f"Check: right with {len(reports)} settings and inputs, largest error {worst:.1e}"
    return words, [f"The first of them, of inputs {inputs}:\n", *_fenced(str(reports[0]))]


def _fenced(text: str, language: str = "text") -> Iterator[str]:
    yield f"````{language}\n{text}\n````\n"


def _folded(words: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield f"<details><summary>{words}</summary>\n"
    yield from lines
    yield "</details>\n"


def _escaped(text: str) -> str:
    """Plain text for a page: no sign of it means anything to Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>|$#])", r"\\\1", text)
