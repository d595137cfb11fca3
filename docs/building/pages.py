"""The pages of the site in one folder, for Sphinx: what stands in docs/, and what is generated.

Usage: python docs/building/pages.py FOLDER
"""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
BESIDE = {"CHANGELOG.md": "changelog.md", "CONTRIBUTING.md": "contributing.md"}
"""Pages from the root of the repository, and their names here."""
ELSEWHERE = {"blockprop/blocks": "reference/index.md", "README.md": "index.md", **BESIDE}
"""Where links go that lead out of docs/."""
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")


def linked(text: str, folder: Path) -> str:
    """A page with its links as the site has them; a link to code becomes its text, since the site holds no folders."""

    def written(link: re.Match[str]) -> str:
        words, target, part = link[1], (folder / link[2]).resolve(), link[3] or ""
        if target.parent == DOCS and target.suffix == ".md":
            return f"[{words}]({target.name}{part})"
        place = ELSEWHERE.get(target.relative_to(ROOT).as_posix())
        return f"[{words}]({place}{part})" if place else words

    return LINK.sub(written, text)


def gather(folder: Path) -> None:
    """Write all pages into a folder, which is emptied first."""
    from building.reference import write_reference

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copytree(DOCS / "pictures", folder / "pictures")
    shutil.copy(DOCS / "building" / "index.md", folder)
    sources = {page: page.name for page in DOCS.glob("*.md")} | {ROOT / page: name for page, name in BESIDE.items()}
    for page, name in sources.items():
        (folder / name).write_text(linked(page.read_text("utf-8"), page.parent), "utf-8")
    write_reference(folder / "reference")


if __name__ == "__main__":
    sys.path[:0] = [str(DOCS), str(ROOT)]
    gather(Path(sys.argv[1]))
