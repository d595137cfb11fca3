"""Whether the site needs nothing but its own files: each script, style, picture and frame of its pages is one of them.

Usage: python docs/building/offline.py FOLDER
"""

import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "object": "data"}
"""What a browser fetches by itself: elements, and where they say what."""


class Loads(HTMLParser):
    """Collects what a page loads."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get(LOADED.get(tag, ""))
        if target and not target.startswith("data:"):
            self.found.append(target)


def lacking(folder: Path) -> Iterator[str]:
    """What pages in a folder load from elsewhere, or from files that are not there."""
    for page in sorted(folder.rglob("*.html")):
        loads = Loads()
        loads.feed(page.read_text("utf-8"))
        for target in loads.found:
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or not (page.parent / unquote(parts.path)).exists():
                yield f"{page.relative_to(folder)} loads {target}"
    for sheet in sorted(folder.rglob("*.css")):
        if "url(http" in (text := sheet.read_text("utf-8")) or "url(//" in text or "@import" in text:
            yield f"{sheet.relative_to(folder)} loads something"


if __name__ == "__main__":
    sys.exit("\n".join(lacking(Path(sys.argv[1]))) or None)
