"""The code in the README and the guides runs, in the order in which it stands."""

import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_runs(
    page: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            exec(compile(code, f"{page.name}[{number}]", "exec"), names)
    assert "WRONG" not in capsys.readouterr().out


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert "://" in target or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_named_as_a_proof_is_there(page: Path) -> None:
    for name, file in re.findall(r"\[`(test_\w+)`\]\(([^)]+)\)", page.read_text()):
        assert f"def {name}(" in (page.parent / file).read_text(), f"{page.name}: there is no {name} in {file}"


def test_the_changelog_knows_the_version() -> None:
    from blockprop import __version__

    assert f"## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_public_names_are_sorted_real_and_documented() -> None:
    import blockprop

    names = [name for name in blockprop.__all__ if not name.startswith("__")]
    assert names == sorted(names)
    for name in names:
        assert (getattr(blockprop, name).__doc__ or "").strip(), f"{name} has no docstring"
