"""A real browser for the tests of pages: Chromium, driven by Playwright; skipped where there is none."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("no Chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


class Visit:
    """A page that is open, with what its console said and what it asked the network for."""

    def __init__(self, opened: Any, path: Path, fragment: str = "", **settings: Any):
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = opened.new_page(**settings)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.absolute().as_uri() + fragment)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    @property
    def panel(self) -> str:
        return str(self.page.inner_text("#panel"))

    def closed(self) -> None:
        """Nothing was complained of, and nothing left the page."""
        assert self.complaints == []
        assert [url for url in self.requests if not url.startswith(("file:", "data:"))] == []
        self.page.close()
