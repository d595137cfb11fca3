"""The table of published files, which are fetched by name."""

import re
from pathlib import Path

import pytest

from blockprop.errors import SettingError
from blockprop.networks.fetching import fetch_published
from blockprop.networks.published import PUBLISHED, Published
from blockprop.pictures.preprocessing import Preprocessing
from tests.networks.site import CONTENT, SHA256, Site


def test_published_files_are_fetched_by_name(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Published(site.url, SHA256, len(CONTENT), "net.onnx", "MIT", "onnx", {}, "")
    monkeypatch.setitem(PUBLISHED, "net", entry)
    assert fetch_published("net", tmp_path) == tmp_path / "net.onnx"
    with pytest.raises(SettingError, match="did you mean 'resnet18'"):
        fetch_published("resnet-18")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_hangs_together(name: str) -> None:
    entry = PUBLISHED[name]
    assert re.fullmatch("[0-9a-f]{64}", entry.sha256)
    assert entry.size > 1_000_000
    assert entry.url.startswith("https://")
    assert entry.url.endswith(f"/{entry.file}")
    assert entry.file.endswith(f".{entry.kind}")
    assert len(Preprocessing.from_dict(entry.preprocessing).to_dict()) == len(entry.preprocessing)


def test_no_two_published_files_get_in_each_others_way() -> None:
    assert len({entry.file for entry in PUBLISHED.values()}) == len(PUBLISHED)
