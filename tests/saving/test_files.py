"""Files are whole or not there at all."""

import math
from pathlib import Path

import pytest
import torch

from blockprop.errors import FormatError
from blockprop.saving import files


def test_views_and_shared_memory_can_be_saved(tmp_path: Path) -> None:
    base = torch.arange(6.0).reshape(2, 3)
    files.write_tensors(tmp_path / "t.safetensors", {"a": base, "b": base.t(), "c": base[1]}, {})
    tensors, document = files.read_tensors(tmp_path / "t.safetensors")
    assert document == {}
    assert tensors["b"].tolist() == [[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]
    assert tensors["c"].tolist() == [3.0, 4.0, 5.0]


def test_documents_hold_every_kind_of_plain_data(tmp_path: Path) -> None:
    document = {"step": 3, "loss": math.inf, "low": -math.inf, "none": None, "on": True, "list": [1, [2.5, "ä"]]}
    files.write_tensors(tmp_path / "t.safetensors", {}, document | {"nan": math.nan})
    found = files.read_tensors(tmp_path / "t.safetensors")[1]
    assert math.isnan(found.pop("nan"))
    assert found == document


@pytest.mark.parametrize(
    "write", [lambda p: files.write_tensors(p, {"a": torch.ones(9999)}, {}), lambda p: files.write_file(p, b"x" * 9999)]
)
def test_a_full_disk_leaves_the_old_file(tmp_path: Path, write) -> None:
    resource = pytest.importorskip("resource")
    path = tmp_path / "old.txt"
    files.write_file(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(FormatError, match=r"old\.txt could not be written \(.*too large.*unchanged"):
            write(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [p.name for p in tmp_path.iterdir()] == ["old.txt"]
    assert path.read_text() == "old"


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "old.txt"
    files.write_file(path, "old")

    def interrupted() -> None:
        with files.replaced(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(FormatError, match="could not be written"):
        files.write_file(tmp_path / "file" / "inside.txt", "text")
    with pytest.raises(FormatError, match="not an ordinary file"):
        files.write_file(tmp_path, "text")
    with pytest.raises(FormatError, match="not an ordinary file"):
        files.write_file("/dev/null", "text")


def test_writing_keeps_links_and_rights(tmp_path: Path) -> None:
    (tmp_path / "link.txt").symlink_to(tmp_path / "real.txt")
    files.write_file(tmp_path / "link.txt", "ü")
    assert (tmp_path / "link.txt").is_symlink()
    assert (tmp_path / "real.txt").read_bytes() == "ü".encode()
    (tmp_path / "plain").write_text("")
    rights = (tmp_path / "plain").stat().st_mode
    files.write_tensors(tmp_path / "new.safetensors", {}, {})
    assert (tmp_path / "new.safetensors").stat().st_mode == rights
    (tmp_path / "real.txt").chmod(0o640)
    files.write_file(tmp_path / "real.txt", "again")
    assert (tmp_path / "real.txt").stat().st_mode & 0o777 == 0o640


def test_data_that_contains_itself_is_refused(tmp_path: Path) -> None:
    circle: list = []
    circle.append(circle)
    with pytest.raises(FormatError, match="the document is nested too deeply"):
        files.write_tensors(tmp_path / "t.safetensors", {}, {"circle": circle})
    assert list(tmp_path.iterdir()) == []


def test_an_unreasonably_long_document_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "LARGEST_DOCUMENT", 20)
    files.write_tensors(tmp_path / "t.safetensors", {}, {"a": 1})
    with pytest.raises(FormatError, match="31 characters of JSON; 20 are allowed"):
        files.write_tensors(tmp_path / "t.safetensors", {}, {"a": "x" * 22})
    assert files.read_tensors(tmp_path / "t.safetensors")[1] == {"a": 1}
