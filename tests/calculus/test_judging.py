"""What is said of a descent: held against parabolas, whose curvatures are known."""

import re
from typing import Any

import pytest
import torch

from blockprop.calculus import TextFunction, Verdict, descend, judge
from blockprop.errors import NotFiniteError, SettingError

BOWL = "x**2 + 10*y**2"


def judged(text: str, start: list[float], rate: float, momentum: float = 0.0, steps: int = 50) -> Verdict:
    f, records, is_finite = TextFunction(text), [], True
    try:
        for record in descend(f, start, rate=rate, momentum=momentum, steps=steps, kinks=True):
            records.append(record)
    except NotFiniteError:
        is_finite = False
    return judge(f, records, rate, momentum, is_finite)


@pytest.mark.parametrize(
    ("text", "start", "settings", "kind", "said"),
    [
        (BOWL, [3.0, 1.0], (0.9,), "grows", r"the loss grows: the rate 0.9 is above 2/λ = 0.1 \(λ = 20"),
        ("2*x**2", [1.0], (0.9,), "grows", "the loss grows: the rate 0.9 is above 2/λ = 0.5"),
        (BOWL, [3.0, 1.0], (0.1,), "bounces", "the rate 0.1 is just 2/λ = 0.1"),
        (BOWL, [3.0, 1.0], (0.09,), "minimum", r"a minimum at \(0.0001472, 1.427e-05\).*curvature 2 and 20"),
        (BOWL, [3.0, 1.0], (0.02,), "unfinished", "after 50 steps the gradient is 0.037 times that of the start"),
        (BOWL, [3.0, 1.0], (1e-4,), "slow", "the rate 0.0001 is far too small: 1/λ = 0.05 is 500 times as large"),
        (BOWL, [3.0, 1.0], (1e-4, 0.9), "slow", "far too small: 1/λ = 0.05 is 50 times as large"),
        (BOWL, [3.0, 1.0], (0.2, 0.9), "grows", r"above 2 \(1 \+ m\)/λ = 0.19"),
        (BOWL, [0.0, 0.0], (0.1,), "minimum", r"a minimum at \(0, 0\), f = 0"),
        ("x**4", [3.0], (0.1,), "grows", r"above 2/λ = 0.01852 \(λ = 108"),
        ("x**2 - y**2", [1.0, 0.0], (0.1,), "saddle", r"f falls along \(0, 1\) and rises across"),
        ("x**2 - y**2", [1.0, 1e-3], (0.1,), "unbounded", "the loss falls without end"),
        ("x*y", [1.0, 1.0], (0.3,), "saddle", "stands on a saddle"),
        ("-x**2", [0.0], (0.1,), "maximum", "stands on a maximum at 0, f = 0"),
        ("0*x", [1.0], (0.1,), "flat", "too flat there for second derivatives"),
        ("x**4", [1.0], (0.1, 0.0, 700), "flat", "the gradient is gone"),
        ("x", [1.0], (0.1,), "unbounded", "after 50 steps it is -4, as steep as ever"),
        ("x**3", [1.0], (0.4,), "unbounded", "then beyond all numbers"),
        (
            "x - log(x)",
            [2.0],
            (9.0,),
            "unbounded",
            "step 1 leaves where the function is defined: the rate 9 is",
        ),
        ("log(x)", [1.0], (0.1,), "unbounded", "step 6 leaves where the function is defined, falling all the way"),
        ("abs(x)", [1.05], (0.1,), "bounces", "over an edge, where the derivative jumps"),
        ("abs(x) + abs(y)", [1.05, 2.0], (0.1,), "bounces", "over an edge, where the derivative jumps"),
        ("sin(x)*cos(y)", [1.0, 0.5], (0.3,), "minimum", r"a minimum at \(-1.571, 0\), f = -1"),
    ],
)
def test_what_is_said(text: str, start: list[float], settings: Any, kind: str, said: str) -> None:
    verdict = judged(text, start, *settings)
    assert verdict.kind == kind, verdict
    assert torch.tensor(verdict.curvature).isfinite()

    assert re.search(said, verdict.sentences[0]), verdict.sentences


def test_what_else_there_is_to_say() -> None:
    zigzags = judged(BOWL, [3.0, 1.0], 0.09).sentences[1]
    assert "it zigzags: the rate 0.09 is between 1/λ = 0.05 and 2/λ = 0.1" in zigzags
    assert "it zigzags" in judged("x**2", [3.0], 0.9).sentences[1]
    assert len(judged(BOWL, [3.0, 1.0], 0.045).sentences) == 1
    overshoots = judged(BOWL, [3.0, 1.0], 0.02, 0.9, 300)
    assert overshoots.kind == "minimum"
    assert "momentum 0.9 carries it past the minimum and back: the loss rose in" in overshoots.sentences[1]
    narrow = judged("x**2 + 100*y**2", [3.0, 1.0], 0.004, 0.0, 60)
    assert "the valley is narrow, its curvature 200 across and 2 along" in narrow.sentences[1]


@pytest.mark.parametrize("seed", range(6))
def test_above_the_bound_it_grows_and_below_it_converges(seed: int) -> None:
    """Random parabolas: 2/λ of the matrix itself decides."""
    generator = torch.Generator().manual_seed(seed)
    a, b = (0.5 + 4 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
    text = f"{a / 2}*(x + y/2)**2 + {b / 2}*(y - x/3)**2"
    h = torch.tensor([[a + b / 9, a / 2 - b / 3], [a / 2 - b / 3, a / 4 + b]], dtype=torch.float64)
    largest = float(torch.linalg.eigvalsh(h)[-1])
    above, below = (judged(text, [1.0, 2.0], factor * 2 / largest, 0.0, 400) for factor in (1.05, 0.9))
    assert (above.kind, below.kind) == ("grows", "minimum")
    assert above.curvature == pytest.approx(largest, rel=1e-8)
    assert f"2/λ = {2 / largest:.4g}" in above.sentences[0]


def test_what_cannot_be_judged() -> None:
    with pytest.raises(SettingError, match="no records"):
        judge(TextFunction("x"), [], 0.1)
    with pytest.raises(SettingError, match="at most 10 elements"):
        judge(lambda x: x @ x, list(descend(lambda x: x @ x, torch.zeros(11).double(), steps=1)), 0.1)
