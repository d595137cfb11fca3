"""The pages of the site in one folder, for Sphinx: what stands in docs/, and what is generated."""

import ast
import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = ROOT / "build" / "site-pages"
BLOCKS = ROOT / "blockprop" / "blocks"
EXTRA = PAGES / "extra"
"""What the site gets as it is."""
FENCED = re.compile(r"^(```.*?^```$)", re.DOTALL | re.MULTILINE)
BESIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages from the root of the repository, and their names here."""
ELSEWHERE = {"blockprop/blocks": "reference/index.md", "README.md": "index.md", **BESIDE}
"""Where links go that lead out of docs/."""
TEST = re.compile(r"\[`(test_\w+)`\]\(\.\./(tests/[\w/]+\.py)\)")
"""How a page names a test that proves what it says."""
PROOFS = "# Proofs\n\nThe tests that the pages name, as they stand in the repository and run with every change.\n"
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def with_proofs(text: str) -> tuple[str, dict[str, str]]:
    """A page with each link to a test as one to proofs.md, and what stands there, by its place."""
    proofs: dict[str, str] = {}

    def written(link: re.Match[str]) -> str:
        name, file = link[1], link[2]
        place = re.sub(r"\W|_", "-", f"{file.removesuffix('.py')}-{name}")
        words = name.removeprefix("test_").replace("_", " ").capitalize()
        code = code_of(ROOT / file, name)
        proofs[place] = f"({place})=\n## {words}\n\n`{file}`\n\n```python\n{code}\n```\n"
        return f"[`{name}`](#{place})"

    return TEST.sub(written, text), proofs


def code_of(file: Path, name: str) -> str:
    """The lines of a function in a file, with its decorators. ValueError if it has none of that name."""
    code = file.read_text("utf-8")
    for part in ast.parse(code).body:
        if isinstance(part, ast.FunctionDef) and part.name == name:
            first = min([part.lineno, *(decorator.lineno for decorator in part.decorator_list)])
            return "\n".join(code.splitlines()[first - 1 : part.end_lineno])
    raise ValueError(f"{file} has no function {name}, which a page names as a proof")


def linked(text: str, folder: Path) -> str:
    """A page with its links as the site has them: one to code leads to the reference, or to a page with the file; one
    to a folder becomes its text.
    """

    def written(link: re.Match[str]) -> str:
        words, target, part = link[1], (folder / link[2]).resolve(), link[3] or ""
        if target.parent == DOCS and target.suffix == ".md":
            return f"[{words}]({target.name}{part})"
        place = ELSEWHERE.get(target.relative_to(ROOT).as_posix())
        if target.parent == BLOCKS:
            place = f"reference/{target.stem}.md"
        elif target.suffix == ".py":
            place = f"code/{target.relative_to(ROOT).with_suffix('.md').as_posix()}"
        return f"[{words}]({place}{part})" if place else words

    parts = FENCED.split(text)  # prose, then what is fenced, in turn
    return "".join(part if i % 2 else LINK.sub(written, part) for i, part in enumerate(parts))


def write_code(text: str) -> None:
    """The pages with files of code to which a page leads."""
    for place in re.findall(r"\]\((code/[^)#]+)\.md", text):
        file = Path(place).relative_to("code").with_suffix(".py")
        page = PAGES / f"{place}.md"
        page.parent.mkdir(parents=True, exist_ok=True)
        code = (ROOT / file).read_text("utf-8")
        page.write_text(f"---\norphan: true\n---\n# {file.as_posix()}\n\n````python\n{code}````\n", "utf-8")


def gather() -> None:
    """Write all pages into PAGES, which is emptied first."""
    from building.reference import write_reference
    from building.running import with_output, with_steppers

    shutil.rmtree(PAGES, ignore_errors=True)
    EXTRA.mkdir(parents=True)
    shutil.copytree(DOCS / "pictures", PAGES / "pictures")
    shutil.copy(DOCS / "building" / "index.md", PAGES)
    sources = {page: page.name for page in DOCS.glob("*.md")} | {ROOT / page: name for page, name in BESIDE.items()}
    proofs: dict[str, str] = {}
    for page, name in sources.items():
        text, of_page = with_proofs(page.read_text("utf-8"))
        proofs |= of_page
        text = linked(text, page.parent)
        write_code(text)
        text = with_steppers(with_output(text, name), EXTRA / "steppers")
        (PAGES / name).write_text(text, "utf-8")
    (PAGES / "proofs.md").write_text("\n".join([PROOFS, *proofs.values()]), "utf-8")
    write_reference(PAGES / "reference")


if __name__ == "__main__":
    sys.path[:0] = [str(DOCS), str(ROOT)]
    gather()
