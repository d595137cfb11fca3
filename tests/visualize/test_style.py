"""Style transfer: the loss beside autograd, tiles, records, interrupted runs, and what is refused."""

import math
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import AvgPool2d, Concat, Conv2d, Flatten, Linear, MaxPool2d, Pad, ReLU
from blockprop.engine.network import Network, Sequential
from blockprop.engine.plan import Node
from blockprop.errors import FormatError, GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.colors import luminance, matched_colors, with_luminance
from blockprop.pictures.photos import with_preprocessing
from blockprop.visualize.style.layers import DEFAULTS, default_layers
from blockprop.visualize.style.losses import Aim, StyleLosses, Weights
from blockprop.visualize.style.quasi_newton import LBFGS, Point
from blockprop.visualize.style.stylize import Style, Stylization, _suitable_history, stylize
from blockprop.visualize.tiling import Tiling
from tests.conftest import DataFile
from tests.visualize.closing import closed

FILES = {
    "squeezenet1_1": ("squeezenet1_1",),
    "googlenet": ("googlenet_bvlc",),
    "vgg19": ("vgg19_normalised_conv3_1", "vgg19_distilled16x_conv4_1", "vgg19_distilled16x_conv5_1"),
}
WEIGHTS = Weights({"relu2": 1.0}, {"relu1": 0.25, "both": 0.25, "relu4": 0.5}, 1.0, 10.0, 0.5, 3.0)


def small(seed: int = 0) -> Network:
    """Five convolutions with a fork: relu2 and relu3 are side by side, and together "both"."""
    torch.manual_seed(seed)
    blocks = {
        "pad1": (Pad((1, 1, 1, 1), mode="reflect"), "x"),
        "conv1": (Conv2d(3, 6, 3), "pad1"),
        "relu1": (ReLU(), "conv1"),
        "conv2": (Conv2d(6, 4, 3, padding=1), "relu1"),
        "relu2": (ReLU(), "conv2"),
        "conv3": (Conv2d(6, 4, 1), "relu1"),
        "relu3": (ReLU(), "conv3"),
        "both": (Concat(), "relu2", "relu3"),
        "pool": (MaxPool2d(2, ceil_mode=True), "both"),
        "conv4": (Conv2d(8, 10, 3, padding=1), "pool"),
        "relu4": (ReLU(), "conv4"),
        "conv5": (Conv2d(10, 4, 3), "relu4"),
        "relu5": (ReLU(), "conv5"),
    }
    network = Network([Node(name, block, inputs) for name, (block, *inputs) in blocks.items()])  # type: ignore[arg-type]
    for parameter in network.parameters.values():
        parameter.add_(torch.randn(parameter.shape) * 0.05)
    return network


def pictures(*sizes: tuple[int, int], seed: int = 1, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    """Smooth random pictures."""
    found = []
    for i, size in enumerate(sizes):
        generator = torch.Generator().manual_seed(100 * seed + i)
        smooth = F.interpolate(torch.rand(1, 3, 6, 6, generator=generator, dtype=dtype), size, mode="bilinear")
        found.append((smooth + 0.05 * torch.randn(1, 3, *size, generator=generator, dtype=dtype)).clamp(0, 1))
    return found


def losses(network: Network, tile: int | None = None, weights: Weights = WEIGHTS, **masks: Tensor) -> StyleLosses:
    dtype = next(iter(network.parameters.values())).dtype
    content, one, two = pictures((40, 52), (31, 44), (60, 36), dtype=dtype)
    aims = [Aim("one", one, 0.75, masks.get("one")), Aim("two", two, 0.25, masks.get("two"))]
    return StyleLosses(Tiling(network, weights.nodes, tile), content, aims, weights)


def start(**settings: Any) -> Stylization:
    """A short run of a network that is the same each time."""
    content, one, two = pictures((48, 64), (40, 50), (64, 32))
    given: dict[str, Any] = {"steps": 4, "scales": 2, "content_layers": "relu2", "style_layers": ("relu1", "relu4")}
    given["style_weight"] = 100.0
    return stylize(small(), content, [one, two], **{**given, **settings})


# The whole loss -------------------------------------------------------------------------------------------------------


def by_autograd(network: Network, picture: Tensor, weights: Weights, masks: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The loss and its gradient, written once more from the docstrings, with torch's own network."""
    content, one, two = pictures((40, 52), (31, 44), (60, 36), dtype=picture.dtype)
    w = network.parameters

    def outputs(x: Tensor) -> dict[str, Tensor]:
        def convolve(x: Tensor, i: int, padding: int) -> Tensor:
            return F.conv2d(x, w[f"conv{i}.weight"], w[f"conv{i}.bias"], padding=padding).relu()

        one = convolve(F.pad(x, (1, 1, 1, 1), mode="reflect"), 1, 0)
        two, three = convolve(one, 2, 1), convolve(one, 3, 0)
        both = torch.cat([two, three], 1)
        four = convolve(F.max_pool2d(both, 2, ceil_mode=True), 4, 1)
        return {"relu1": one, "relu2": two, "relu3": three, "both": both, "relu4": four}

    def mean_product(y: Tensor, mask: Tensor | None) -> Tensor:
        m = torch.ones(y.shape[2:], dtype=y.dtype)
        if mask is not None:
            m = F.interpolate(mask[None, None], y.shape[2:], mode="bilinear", antialias=True)[0, 0]
        return torch.einsum("nchw,ndhw,hw->cd", y, y, m) / m.sum()

    with torch.no_grad():
        aims = {"one": (outputs(one), 0.75), "two": (outputs(two), 0.25)}
        wanted = outputs(content)
    x = picture.clone().requires_grad_()
    found = outputs(x)
    total = x.new_zeros(())
    for node, weight in weights.content_layers.items():
        p = wanted[node]
        total = total + weights.content * weight * (found[node] - p).square().sum() / p.square().sum()
    for name, (features, share) in aims.items():
        for node, weight in weights.style_layers.items():
            a = mean_product(features[node], None)
            g = mean_product(found[node], masks.get(name))
            total = total + weights.style * share * weight * (g - a).square().sum() / a.square().sum()
    variation = x.diff(dim=2).square().sum() + x.diff(dim=3).square().sum()
    total = total + weights.variation * variation / x.numel()
    total = total + weights.range * ((x - 1).relu().square() + (-x).relu().square()).mean()
    total.backward()
    assert x.grad is not None
    return total.detach(), x.grad


@pytest.mark.parametrize("masked", [(), ("one",), ("one", "two")], ids=str)
def test_the_loss_equals_autograd(masked: tuple[str, ...]) -> None:
    network = small().to(dtype=torch.float64)
    masks = {name: torch.rand(40, 52, dtype=torch.float64) for name in masked}
    (picture,) = pictures((40, 52), seed=5, dtype=torch.float64)
    picture = 1.4 * picture - 0.2
    point = losses(network, **masks)(picture)
    value, d = by_autograd(network, picture, WEIGHTS, masks)
    assert point.value == pytest.approx(float(value), rel=1e-12)
    assert math.fsum(point.parts.values()) == pytest.approx(point.value)
    assert list(point.parts) == ["content", "one", "two", "total variation", "range"]
    torch.testing.assert_close(point.d, d, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize(
    "weights",
    [
        WEIGHTS,
        Weights({}, {"relu1": 1.0}, 0.0, 3.0, 0.0),
        Weights({"relu4": 1.0}, {}, 2.0, 0.0, 0.1),
        Weights({"relu2": 0.5, "relu3": 0.5}, {"relu3": 1.0}, 1.0, 1.0, 0.0),
    ],
    ids=["all", "style", "content", "side by side"],
)
def test_any_weights_equal_autograd(weights: Weights) -> None:
    network = small().to(dtype=torch.float64)
    (picture,) = pictures((40, 52), seed=5, dtype=torch.float64)
    point = losses(network, None, weights)(picture)
    value, d = by_autograd(network, picture, weights, {})
    assert point.value == pytest.approx(float(value), rel=1e-12)
    torch.testing.assert_close(point.d, d, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("masked", [False, True], ids=["everywhere", "masked"])
def test_tiles_equal_the_whole(dtype: torch.dtype, masked: bool) -> None:
    network = small().to(dtype=dtype)
    masks = {"one": torch.rand(40, 52, dtype=dtype)} if masked else {}
    (picture,) = pictures((40, 52), seed=5, dtype=dtype)
    whole = losses(network, None, **masks)
    tiled = losses(network, 24, **masks)
    assert len(tiled.tiling.tiles(picture)) > 3
    one, other = whole(picture), tiled(picture)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-12
    assert other.value == pytest.approx(one.value, rel=tolerance)
    assert float((one.d - other.d).norm() / one.d.norm()) < tolerance
    assert all(other.parts[name] == pytest.approx(part, rel=tolerance) for name, part in one.parts.items())


def test_a_run_in_tiles_equals_one_without() -> None:
    whole, tiled = list(start(steps=1)), list(start(steps=1, tile=36))
    for one, other in zip(whole, tiled, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-4)
    torch.testing.assert_close(tiled[-1].picture, whole[-1].picture, rtol=0, atol=1e-3)


def test_the_picture_is_not_changed_and_no_weight_is() -> None:
    network = small()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    (picture,) = pictures((40, 52), seed=5)
    copy = picture.clone()
    losses(network)(picture)
    assert torch.equal(picture, copy)
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_forward_stops_at_the_deepest_layer() -> None:
    class Never(ReLU):
        def forward(self, x: Tensor) -> Any:
            raise AssertionError("nobody asked for this")

    network = small()
    nodes = [Node(n.name, Never() if n.name == "relu5" else n.block, n.inputs) for n in network.nodes]
    (picture,) = pictures((40, 52), seed=5)
    assert losses(Network(nodes))(picture).value > 0


# Runs -----------------------------------------------------------------------------------------------------------------


def test_the_loss_goes_down_and_the_records_tell() -> None:
    run = start(steps=(6, 8), preview_every=5)
    steps = list(run)
    assert [step.step for step in steps] == list(range(1, 15))
    assert [step.step for step in steps if step.picture is not None] == [5, 10, 14]
    for values in ([step.value for step in steps[:6]], [step.value for step in steps[6:]]):
        assert values == sorted(values, reverse=True)
        assert values[-1] < 0.9 * values[0]
    last = steps[-1]
    assert list(last.parts) == ["content", "style 1", "style 2", "total variation", "range"]
    assert sum(last.parts.values()) == pytest.approx(last.value)
    assert (last.best, last.best_step) == (last.value, 14)
    assert last.picture is not None
    assert last.picture.shape == (1, 3, 48, 64)
    assert 0 <= float(last.picture.min()) < float(last.picture.max()) <= 1
    assert all(step.picture is None or step.picture.shape == (1, 3, 48, 64) for step in steps)


def test_the_best_value_begins_anew_with_each_size() -> None:
    run = start(steps=(2, 1))
    next(run), next(run)
    run.best_value = 0.0
    step = next(run)
    assert (step.best, step.best_step) == (step.value, 3)


def test_details_of_the_content_come_back_when_the_picture_is_enlarged() -> None:
    content = pictures((48, 64))[0]
    runs = [start(details=details, steps=(1, 1)) for details in (0.0, 1.0)]
    for run in runs:
        next(run)
        run.enter(1)
    smooth, detailed = (run.point.x for run in runs)  # type: ignore[union-attr]
    coarse = F.interpolate(content, (34, 45), mode="bicubic", antialias=True)
    fine = content - F.interpolate(coarse, (48, 64), mode="bicubic", antialias=True)
    torch.testing.assert_close(detailed - smooth, fine)


def test_lbfgs_goes_on_with_what_it_learned_at_the_size_before() -> None:
    run = start(steps=(5, 1))
    for _ in range(5):
        next(run)
    before = run.optimizer.pairs  # type: ignore[union-attr]
    run.enter(1)
    after = run.optimizer.pairs  # type: ignore[union-attr]
    assert len(after) == len(before) == 5
    for (s, y, _), (larger_s, larger_y, curvature) in zip(before, after, strict=True):
        assert larger_s.shape == larger_y.shape == (1, 3, 48, 64)
        assert curvature == pytest.approx(float((larger_s * larger_y).sum()), rel=1e-3)
        assert float(larger_s.mean()) == pytest.approx(float(s.mean()), abs=1e-3)
        assert float(larger_y.sum()) == pytest.approx(float(y.sum()), rel=0.2, abs=1e-3)


def test_the_value_is_that_of_the_picture_of_the_record() -> None:
    run = start(scales=1, steps=5)
    *_, last = run
    assert run.losses is not None
    assert run.point is not None
    assert run.losses(run.point.x).value == last.value


def test_pictures_before_the_first_step_and_in_between() -> None:
    run = start(preview_every=1)
    (content,) = pictures((48, 64))
    assert float((run.picture() - content).abs().mean()) < 0.05  # has been at half the size
    first = next(run)
    assert first.picture is not None
    assert torch.equal(first.picture, run.picture())


def test_of_large_pictures_fewer_are_remembered() -> None:
    assert _suitable_history((384, 512), 4) == 40
    assert _suitable_history((1536, 2048), 4) == 14
    assert _suitable_history((3000, 4000), 4) == 5
    assert closed(start()).settings["history"] == 40


@pytest.mark.parametrize("name", ["noise", "content", "picture"])
def test_where_it_starts(name: str) -> None:
    picture = pictures((30, 30), seed=9)[0]
    run = start(start=picture if name == "picture" else name, scales=1)
    (content,) = pictures((48, 64))
    if name == "content":
        assert torch.equal(run.picture(), content)
        assert closed(start(style_weight=None)).weights.style == 1000
    if name == "noise":
        assert closed(start(start="noise", style_weight=None)).weights.style == pytest.approx(1000 / 15)
        assert 0.02 < float(run.picture().std()) < 0.2
        assert not torch.equal(run.picture(), closed(start(start="noise", scales=1, seed=1)).picture())
    if name == "picture":
        assert float(run.picture().mean()) == pytest.approx(float(picture.mean()), abs=0.01)
    values = [step.value for step in run]
    assert values[-1] < values[0]


def test_the_same_seed_gives_the_same_bits_and_coarse_sizes_follow_the_square_root_of_two() -> None:
    one, other = start(start="noise", scales=3), start(start="noise", scales=3)
    assert torch.equal(list(one)[-1].picture, list(other)[-1].picture)
    assert one.sizes == [[24, 32], [34, 45], [48, 64]]


@pytest.mark.parametrize(
    "optimizer", ["adam", "normalized", lambda p: torch.optim.SGD(p, lr=0.1)], ids=["adam", "normalized", "SGD"]
)
def test_other_optimizers_go_down(optimizer: Any) -> None:
    steps = list(start(optimizer=optimizer, scales=1, steps=12))
    assert steps[-1].value < steps[0].value


def test_adam_is_torchs() -> None:
    run = start(optimizer="adam", scales=1, steps=3, rate=0.03)
    (content,) = pictures((48, 64))
    x = content.clone()
    theirs = torch.optim.Adam([x], lr=0.03)
    next(run)
    assert run.losses is not None
    for _ in range(2):
        next(run)
    for _ in range(3):
        x.grad = run.losses(x).d
        theirs.step()
    assert run.point is not None
    assert torch.equal(run.point.x, x)


def test_styles_have_weights_and_sizes_and_masks() -> None:
    content, one, two = pictures((48, 64), (40, 50), (64, 32))
    left = torch.zeros(48, 64)
    left[:, :32] = 1
    given = [Style(one, 3.0, mask=left, name="left"), Style(two, 1.0, mask=1 - left[None, None], name="right")]
    layers: dict[str, Any] = {"content_layers": "relu2", "style_layers": ("relu1", "relu4")}
    run = stylize(small(), content, given, steps=3, **layers)
    *_, last = run
    assert list(last.parts) == ["content", "left", "right", "total variation", "range"]
    assert [style.weight for style in run.styles] == [0.75, 0.25]
    assert run.losses is not None
    larger = stylize(small(), content, Style(one, scale=2.0), steps=1, **layers)
    smaller = stylize(small(), content, Style(one), steps=1, **layers)
    next(larger), next(smaller)
    assert larger.losses.terms[1][0].table.shape == smaller.losses.terms[1][0].table.shape  # type: ignore[union-attr]
    assert not torch.allclose(larger.losses.terms[1][0].table, smaller.losses.terms[1][0].table)  # type: ignore


def test_a_masked_style_acts_where_its_mask_is() -> None:
    content, one = pictures((48, 64), (40, 50))
    left = torch.zeros(48, 64)
    left[:, :32] = 1
    weights = {"content_weight": 0.0, "total_variation": 0.0, "range_weight": 0.0}
    given = {"style_layers": "relu1", "optimizer": "normalized", "rate": 1.0}
    run = stylize(small(), content, Style(one, mask=left), steps=5, scales=1, **weights, **given)
    changed = (list(run)[-1].picture - content).abs().mean((0, 1, 2))  # type: ignore[operator]
    assert float(changed[:32].mean()) > 0.005
    assert float(changed[34:].max()) < 1e-6


def test_a_style_that_is_the_content_leaves_it() -> None:
    content = pictures((48, 64))[0]
    steps = list(
        stylize(
            small(),
            content,
            content,
            steps=2,
            scales=1,
            content_layers="relu2",
            style_layers="relu4",
            total_variation=0,
        )
    )
    assert steps[-1].value == 0
    assert torch.equal(steps[-1].picture, content)


# Colors ---------------------------------------------------------------------------------------------------------------


def test_matched_colors_have_the_mean_and_covariance() -> None:
    one, other = (0.4 + 0.2 * picture for picture in pictures((20, 30), (40, 24), dtype=torch.float64))
    found = matched_colors(one, other)
    torch.testing.assert_close(found.mean((2, 3)), other.mean((2, 3)))
    moments = [torch.cov(p[0].flatten(1), correction=0) for p in (found, other)]
    torch.testing.assert_close(*moments, rtol=1e-2, atol=1e-5)


def test_a_gray_picture_can_be_matched() -> None:
    gray, other = torch.full((1, 3, 8, 8), 0.5), pictures((20, 30))[0]
    assert matched_colors(gray, other).isfinite().all()
    assert matched_colors(other, gray).isfinite().all()


def test_luminance_by_hand() -> None:
    picture = torch.tensor([1.0, 0.5, 0.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(luminance(picture), torch.tensor([[[[0.299 + 0.5 * 0.587]]]]))
    shifted = with_luminance(picture, luminance(picture) + 0.1)
    torch.testing.assert_close(shifted, picture + 0.1)


def test_painting_brightness_alone_has_the_gradient_of_all_colors_together() -> None:
    network, given = small().to(dtype=torch.float64), pictures((48, 64), (40, 50))
    layers = {"content_layers": "relu2", "style_layers": "relu4"}
    run = closed(stylize(network, *given, scales=1, colors="luminance", **layers))
    run.enter(0)
    assert run.point is not None
    direction = torch.randn(1, 1, 48, 64, dtype=torch.float64)
    up, down = (run._evaluate(run.point.x + sign * 1e-6 * direction).value for sign in (1, -1))
    assert float((run.point.d * direction).sum()) == pytest.approx((up - down) / 2e-6, rel=1e-4)


def test_styles_can_be_given_the_colors_of_the_content() -> None:
    run = start(colors="matched", scales=1)
    (aim, _) = run.aims(48, 64)
    torch.testing.assert_close(aim.picture.mean((2, 3)), run.content.mean((2, 3)), rtol=0, atol=0.01)
    assert list(run)[-1].value > 0


def test_original_colors_stay() -> None:
    run = start(colors="luminance", steps=6)
    (content,) = pictures((48, 64))
    run.content = content.mul_(0.5).add_(0.25)
    picture = list(run)[-1].picture
    assert picture is not None
    inside = ((picture > 0) & (picture < 1)).all(1, keepdim=True)
    shift = (picture - run.content).masked_select(inside.expand_as(picture)).view(3, -1)
    torch.testing.assert_close(shift[0], shift[1], rtol=0, atol=1e-5)
    torch.testing.assert_close(shift[0], shift[2], rtol=0, atol=1e-5)
    assert float(shift.abs().mean()) > 0.005


# Stopped and resumed --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [1, 4, 5, 8, 9, 12])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_resumed_equals_uninterrupted(tmp_path: Path, stop: int, optimizer: str) -> None:
    settings = {"optimizer": optimizer, "start": "noise", "scales": 3}
    whole = list(start(**settings))
    path = tmp_path / "run.state"
    run = start(**settings, state=path)
    for _ in range(stop):
        next(run)
    run.close()
    assert path.exists()
    resumed = start(**settings, state=path, resume=True)
    assert torch.equal(resumed.picture(), run.picture())
    rest = list(resumed)
    assert [step.step for step in rest] == list(range(stop + 1, 13))
    for mine, theirs in zip(rest, whole[stop:], strict=True):
        assert (mine.value, mine.parts, mine.best, mine.best_step) == (
            theirs.value,
            theirs.parts,
            theirs.best,
            theirs.best_step,
        )
    if rest:
        assert torch.equal(rest[-1].picture, whole[-1].picture)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    run = start(state=path)
    next(run)
    run.close()
    for name, settings in {
        "weights": {"style_weight": 7.0},
        "seed": {"seed": 3},
        "layers": {"style_layers": "relu1"},
        "sizes": {"scales": 1},
        "colors": {"colors": "matched"},
    }.items():
        with pytest.raises(FormatError, match=f"cannot resume, the {name} in"):
            start(**settings, state=path, resume=True)


def test_ctrl_c_waits_for_the_end_of_a_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.state"
    run = start(state=path, steps=5)
    steps = [next(run)]
    plain = LBFGS.step

    def interrupted(self: LBFGS, *arguments: Any) -> Point:
        signal.raise_signal(signal.SIGINT)
        return plain(self, *arguments)

    monkeypatch.setattr(LBFGS, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(run)
    monkeypatch.undo()
    assert run.step == 2
    rest = list(start(state=path, steps=5, resume=True))
    assert [*steps, *rest][-1].value == list(start(steps=5))[-1].value
    assert [step.step for step in rest] == list(range(3, 11))


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"style_layers": "relu_1"}, GraphError, "no layer 'relu_1'; did you mean 'relu1'"),
        ({"content_layers": {"relu2": 0.0}}, SettingError, "content_layers must be above 0, came 0 for 'relu2'"),
        ({"style_layers": {"relu2": -1.0}}, SettingError, "style_layers must be above 0"),
        ({"style_layers": ()}, SettingError, "style_layers names no layer; there are"),
        ({"style_weight": -1.0}, SettingError, "style_weight must be at least 0"),
        ({"total_variation": math.nan}, SettingError, "total_variation must be at least 0"),
        ({"style_weight": 0, "content_weight": 0}, SettingError, "nothing would be painted"),
        ({"steps": 0}, SettingError, "expected steps of at least 1"),
        ({"steps": (3, 4, 5)}, SettingError, "or 2 such numbers"),
        ({"scales": 0}, SettingError, "scales as a whole number from 1"),
        ({"size": 0}, SettingError, "size as a whole number from 1"),
        ({"size": 200_000}, SettingError, "makes more than 100,000,000 in all"),
        ({"scales": 3000}, SettingError, "scales as a whole number from 1 to 64"),
        ({"history": 2.5}, SettingError, "a history of a whole number"),
        ({"content_layers": 5}, SettingError, "content_layers: expected a node"),
        ({"optimizer": "adam", "rate": 1e38}, SettingError, "rate above 0, up to 1000000"),
        ({"start": "photo"}, SettingError, "start must be content, noise or a picture"),
        ({"colors": "own"}, SettingError, "colors must be one of style, matched, luminance"),
        ({"optimizer": "lbgfs"}, SettingError, "no optimizer 'lbgfs'; did you mean 'lbfgs'"),
        ({"rate": 0.0}, SettingError, "a rate above 0"),
        ({"history": 0}, SettingError, "a history of a whole number from 1 up"),
        ({"details": math.nan}, SettingError, "a finite number for details"),
        ({"preview_every": 0}, SettingError, "preview_every"),
        ({"resume": True}, SettingError, "resume needs the path of a state"),
        ({"size": 1}, SettingError, "the content of .* pixels is too small for the network; use a larger size"),
        ({"style_layers": "relu5", "size": 8}, SettingError, "too small for the network"),
        ({"tile": 8}, SettingError, "tile must be at least"),
    ],
    ids=str,
)
def test_settings_that_make_no_sense(settings: dict[str, Any], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        next(start(**settings))


def test_pictures_that_make_no_sense() -> None:
    content, one = pictures((48, 64), (40, 50))
    layers: dict[str, Any] = {"content_layers": "relu2", "style_layers": "relu5"}
    for style, kind, message in [
        ([], SettingError, "at least one style"),
        (Style(one, weight=0.0), SettingError, "the weight of a style must be above 0"),
        (Style(one, scale=-1.0), SettingError, "the scale of a style must be above 0"),
        (Style(one, scale=0.02), SettingError, "style 1 of 1 x 1 pixels is too small"),
        (Style(one, mask=torch.ones(40, 50)), ShapeError, "a mask of the content's size, 48 x 64, came 40 x 50"),
        (Style(one, mask=torch.zeros(48, 64)), SettingError, "above 0 somewhere"),
        ([Style(one, name="a"), Style(one, name="a")], SettingError, "a name of its own for each style"),
        (Style(one, name="content"), SettingError, "a name of its own"),
        (one[:, :1], ShapeError, r"one picture \(1, 3, h, w\) as a style"),
        (one * math.nan, ShapeError, "not finite"),
    ]:
        with pytest.raises(kind, match=message):
            stylize(small(), content, style, **layers)
    with pytest.raises(ShapeError, match="as the content"):
        stylize(small(), content[:, :1], one, **layers)
    with pytest.raises(ShapeError, match="as the start"):
        stylize(small(), content, one, start=content.expand(2, -1, -1, -1), **layers)


def test_numbers_that_are_not_finite_name_the_block() -> None:
    network = small()
    network.parameters["conv2.weight"][0] = math.inf
    content, one = pictures((48, 64), (40, 50))
    run = stylize(network, content, one, content_layers="relu2", style_layers="relu4")
    with pytest.raises(NotFiniteError, match="conv2"):
        next(run)


def test_a_rate_that_is_too_large_is_told() -> None:
    run = start(optimizer=lambda p: torch.optim.SGD(p, lr=1e30), scales=1, steps=30)
    with pytest.raises(NotFiniteError, match="smaller rate"):
        list(run)


# Layers ---------------------------------------------------------------------------------------------------------------


def test_an_unknown_network_gets_rectifiers_spread_over_depth() -> None:
    found = default_layers(small())
    assert list(found.style) == ["relu1", "relu2", "relu3", "relu4", "relu5"]
    assert found.content == ("relu4",)
    content, one = pictures((48, 64), (40, 50))
    assert next(stylize(small(), content, one, steps=1)).value > 0


def test_without_rectifiers_layers_must_be_said() -> None:
    network = Sequential({"conv": Conv2d(3, 4, 3), "pool": AvgPool2d(2), "flat": Flatten(), "fc": Linear(4 * 9, 2)})
    with pytest.raises(SettingError, match=r"style_layers=…, of conv, pool, flat, fc"):
        stylize(network, *pictures((8, 8), (8, 8)))
    with pytest.raises(ShapeError, match="flat"):
        stylize(network, *pictures((8, 8), (8, 8)), content_layers="conv", style_layers="flat")


@pytest.mark.parametrize(("name", "file"), [(name, file) for name, files in FILES.items() for file in files])
def test_defaults_for_published_networks(name: str, file: str, data_file: DataFile) -> None:
    path = data_file(f"weights/{file}.safetensors")
    network = with_preprocessing(pretrained(name, path))
    found = default_layers(network)
    nodes = {node.name for node in network.nodes}
    assert {*found.content, *found.style} <= nodes
    assert set(found.style) <= set(DEFAULTS[name].style)
    steps = list(stylize(network, *pictures((64, 80), (64, 64)), steps=3, scales=1))
    assert steps[-1].value < 0.8 * steps[0].value
