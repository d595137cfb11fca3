"""bench/speed.py: what it times computes the same, what it cannot time is named, the page holds what it measured."""

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
BENCH = ROOT / "bench"


@pytest.fixture(autouse=True)
def _bench(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def test_a_row_from_its_guard_to_its_table() -> None:
    from speed import told
    from speed_rows import ROWS
    from speed_tables import section
    from turns import measured

    row = measured("10 blocks", ROWS["10 blocks"], seconds=0.2, threads=1)
    assert row["differing"] == []
    assert row["errors"]["tuned autograd"] < 1e-12
    assert set(row["ways"]) == {"ours", "tuned autograd"}
    for way in row["ways"].values():
        assert 1e-5 < way["low"] <= way["seconds"] <= way["high"] < 10
        assert way["calls"] >= 3
        assert 1e4 < way["tensors"] < 1e7
    assert told(row).startswith("ours ")
    limits = {"operations": 1e11, "bytes": 1e10}
    text = section({"machine": "a machine", "threads": 1, "versions": {}, "limits": limits, "rows": {"10 blocks": row}})
    (line,) = [line for line in text.splitlines() if line.startswith("| 10 blocks") and "±" in line]
    ratio = row["ways"]["tuned autograd"]["seconds"] / row["ways"]["ours"]["seconds"]
    assert line.split("|")[-2].strip() == f"{ratio:.2f}"


@pytest.mark.slow
def test_the_command_names_a_peer_that_is_missing() -> None:
    command = [sys.executable, "bench/speed.py", "--only", "64-32-10", "--seconds", "0.2", "--threads", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "| 64-32-10, batch 32 |" in done.stdout
    assert ("JAX (jax is not installed)" in done.stdout) == (find_spec("jax") is None)


def test_the_guard_finds_another_result_and_names_what_cannot_be_tried() -> None:
    from speed_row import Row, Way, Work
    from speed_worker import differing, guard

    def gives(*numbers: float) -> Way:
        return Way(lambda dtype: lambda: torch.tensor(numbers, dtype=dtype))

    def broken(_: torch.dtype) -> Any:
        raise OSError("no compiler\nat all")

    ways = {
        "ours": gives(1, 2),
        "same": gives(1, 2 + 1e-10),
        "other": gives(1, 2.001),
        "rough": gives(1, 2.001)._replace(exact=False, apart=1e-2),
        "nan": gives(1, float("nan")),
        "broken": Way(broken),
        "elsewhere": gives(1, 2)._replace(package="no_such_package"),
        "left out": Way(broken),
        "forward": gives(5)._replace(gives="forward"),
    }
    row = Row("training", ways, lambda: Work(1, 2), absent={"left out": "takes too long"})
    found = guard(row)
    assert differing(row, found["errors"]) == ["other", "nan"]
    assert found["absent"] == {
        "left out": "takes too long",
        "broken": "OSError: no compiler",
        "elsewhere": "no_such_package is not installed",
    }
    with pytest.raises(OSError, match="no compiler"):
        guard(row._replace(ways={"ours": Way(broken)}))


def test_every_row_has_ours_first_and_names_what_there_is() -> None:
    from speed_rows import ROWS
    from speed_tables import GROUPS

    for title, row in ROWS.items():
        assert next(iter(row.ways)) == "ours", title
        assert row.group in GROUPS, title
        assert {*row.wanted, *row.absent} <= {*row.ways}, title


def test_what_a_row_with_another_result_looks_like() -> None:
    from speed import told
    from speed_tables import times

    row = {"differing": ["autograd"], "ways": {}}
    assert "another result: autograd" in times({"net": row}, {})
    assert "another result comes from autograd" in told(row)
    checked = {"differing": [], "errors": {"autograd": 2e-15}, "absent": {"JAX": "jax is not installed"}}
    assert told(checked) == "autograd 2e-15, no JAX (jax is not installed)"


def test_the_median_of_steps() -> None:
    from turns import summary

    calls = [(0.1 * n, 20 * n) for n in (1, 2, 3, 4, 100)]
    found = summary(calls, 10)
    assert found["seconds"] == pytest.approx(0.03)
    assert found["page_faults"] == 6
    assert found["low"] < found["seconds"] < found["high"]


def test_exponents_of_growth() -> None:
    from speed_tables import exponent

    sizes = [10.0, 100.0, 1000.0, 5000.0]
    assert exponent(sizes, [3 * size**1.25 for size in sizes]) == pytest.approx(1.25)
    assert np.isnan(exponent(sizes, [1.0, None, 2.0, 3.0]))


@pytest.mark.skipif(sys.platform != "linux", reason="the system tells peaks of memory")
def test_the_peak_of_a_process_is_what_was_alive_at_once() -> None:
    from measuring import process_peak, timed

    size = 2**26
    peak = process_peak(lambda: (np.ones(size, np.uint8), None)[1])
    assert peak is not None
    assert abs(peak - size) < size / 8
    assert (process_peak(lambda: None) or 0) < size / 8
    ((seconds, faults),) = timed(lambda: np.ones(size, np.uint8), 0)
    assert seconds > 0
    assert faults > 0


def test_growth_is_drawn_the_same_from_the_same_numbers(tmp_path: Path) -> None:
    from speed_picture import drawn

    def row(size: int) -> dict[str, Any]:
        way = {"seconds": size * 1e-6, "tensors": 10 * size}
        return {"group": "growth with blocks", "size": size, "ways": {"ours": way, "peer": way}}

    rows = {f"{size} blocks": row(size) for size in (10, 100, 1000)}
    paths = [tmp_path / name for name in ("a.svg", "b.svg")]
    assert all(drawn(rows, path) for path in paths)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert b"<svg" in paths[0].read_bytes()
    assert not drawn({"net": {"group": "training", "size": None, "ways": {}}}, tmp_path / "none.svg")


def test_numbers_of_another_machine_are_dropped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from speed import kept

    path, here = tmp_path / "benchmarks.json", {"machine": "this", "threads": 2}
    assert kept(path, here)["rows"] == {}
    path.write_text(json.dumps({**here, "limits": {"bytes": 1}, "rows": {"net": 1}}))
    assert kept(path, here)["rows"] == {"net": 1}
    assert kept(path, {**here, "threads": 1})["rows"] == {}
    assert "another machine" in capsys.readouterr().err


def test_the_page_holds_the_numbers_beside_it() -> None:
    from speed_tables import section

    page = BENCH.parent / "docs" / "benchmarks.md"
    numbers = json.loads(page.with_suffix(".json").read_text())
    assert section(numbers).strip() in page.read_text(), "run bench/speed.py --write again"


def test_machines_of_one_name_are_told_apart_by_their_model(tmp_path: Path) -> None:
    from reporting import model

    path = tmp_path / "cpuinfo"
    assert model(path) == []
    path.write_text("processor\t: 0\nvendor_id\t: Someone\ncpu family\t: 26\nmodel\t\t: 2\nmodel name\t: Some CPU\n\n")
    assert model(path) == ["Someone", "family 26", "model 2"]
