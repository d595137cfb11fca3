"""What jobs take of resident memory is what they said before, within 15 %, and what they were given."""

import json
import sys

import pytest

from blockprop.preparing.budget import bytes_named
from tests.processes import started


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of resident memory is read from /proc")
@pytest.mark.parametrize(
    ("name", "side", "memory"),
    [
        ("gradient", 800, "1 GB"),
        ("smooth_grad", 800, "1 GB"),
        ("guided", 800, "1 GB"),
        ("guided_grad_cam", 800, "1 GB"),
        ("maximize", 512, "1 GB"),
        ("dream", 900, "1 GB"),
        ("dream", 900, "75 MB"),
        ("style", 400, "1 GB"),
    ],
)
def test_what_is_taken_was_expected(name: str, side: int, memory: str) -> None:
    with started([sys.executable, "-m", "tests.visualize.job_memory", name, str(side), memory]) as process:
        out, error = process.communicate()
    assert not process.returncode, error
    found = json.loads(out)
    assert found["taken"] == pytest.approx(found["expected"], rel=0.15)
    assert found["taken"] <= 1.05 * bytes_named(memory)
