"""Dreams: a step by hand, whole runs by a second version with autograd; tiled, stopped, resumed, filmed, refused."""

import itertools
import math
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from blockprop.blocks import Affine, Conv2d, Flatten, GlobalAvgPool, Linear, MaxPool2d, ReLU
from blockprop.engine.network import Network, Sequential
from blockprop.errors import FormatError, GraphError, NotFiniteError, SettingError, ShapeError
from blockprop.networks.weights import pretrained
from blockprop.pictures.photos import Preprocessing, with_preprocessing
from blockprop.pictures.picture_files import read_picture
from blockprop.pictures.scaling import noise, scaled, zoomed
from blockprop.visualize.ascent import ascend
from blockprop.visualize.dream import dream
from blockprop.visualize.dream_run import Dream
from blockprop.visualize.objectives.activity import CHUNK, Activity, Layers, Resemblance, parsed
from blockprop.visualize.running import PictureRecord
from tests.conftest import DataFile
from tests.visualize.closing import closed


def small(dtype: torch.dtype = torch.float32) -> Network:
    """Two convolutions for BGR pictures, the same each time."""
    blocks = {"conv1": Conv2d(3, 6, 3, 2, 1), "relu1": ReLU(), "pool1": MaxPool2d(3, 2, ceil_mode=True)}
    blocks |= {"conv2": Conv2d(6, 4, 3, padding=1), "relu2": ReLU(), "pool2": GlobalAvgPool(), "fc": Linear(4, 2)}
    network = with_preprocessing(Sequential(blocks), Preprocessing(None, 2.0, 1.0, channels="BGR"))
    generator = torch.Generator().manual_seed(3)
    for parameter in network.parameters.values():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.4)
    return network.to(dtype=dtype)


def photo(height: int = 40, width: int = 52, n: int = 1, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(n, 3, height, width, generator=torch.Generator().manual_seed(5)).to(dtype)


def start(**settings: Any) -> Dream:
    """A short dream, 2 octaves of 3 steps."""
    given = {"image": photo(), "layers": "relu2", "steps": 3, "octaves": 2, "jitter": 4, **settings}
    return dream(small(), **given)


# Objectives -----------------------------------------------------------------------------------------------------------


def by_autograd(objective: Any, y: Tensor) -> tuple[float, Tensor]:
    """The formula's value and derivative: ½ mean of y², or the mean of the best products with the guide's features."""
    y = y.clone().requires_grad_()
    own = y if objective.channel is None else y[:, objective.channel : objective.channel + 1]
    if isinstance(objective, Activity):
        value = sum(0.5 * each.square().mean() for each in own)
    else:
        products = torch.einsum("cj,nchw->njhw", objective.features.to(y), own)
        value = sum(each.max(0).values.sum() / own[0].numel() for each in products)
    (d_y,) = torch.autograd.grad(value, y)
    return float(torch.as_tensor(value).detach()), d_y


@pytest.mark.parametrize("channel", [None, 2])
@pytest.mark.parametrize("kind", ["activity", "resemblance"])
def test_objectives_by_autograd(kind: str, channel: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    y = torch.randn(2, 4, 5, 7, dtype=torch.float64, generator=generator)
    features = torch.randn(1, 4, 3, 6, dtype=torch.float64, generator=generator)
    objective = Activity("a", channel) if kind == "activity" else Resemblance("a", features, channel)
    value, seeds = objective.evaluate({"a": y})
    expected, d_y = by_autograd(objective, y)
    assert float(value) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(seeds["a"], d_y, rtol=1e-12, atol=1e-15)
    tile = replace(objective, places=35)
    parts = [tile.of(rows) for rows in y.split((2, 3), 2)]
    assert float(sum(part for part, _ in parts)) == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(torch.cat([seed for _, seed in parts], 2), d_y, rtol=1e-12, atol=1e-15)


def test_resemblance_by_hand() -> None:
    """Place (1, 0) fits the guide's first place better, place (0, 2) its second one."""
    guide = torch.tensor([[2.0, 0.0], [0.0, 3.0]]).view(1, 2, 1, 2)
    y = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(1, 2, 1, 2)
    value, seeds = Resemblance("a", guide).evaluate({"a": y})
    assert float(value) == (2 + 6) / 4
    assert seeds["a"].flatten().tolist() == [0.5, 0, 0, 0.75]


def test_many_places_are_compared_in_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    y, features = torch.rand(1, 3, 20, 20), torch.rand(1, 3, 10, 10)
    value, seeds = Resemblance("a", features).evaluate({"a": y})
    assert CHUNK > 100 * 400
    monkeypatch.setattr("blockprop.visualize.objectives.activity.CHUNK", 100 * 7)
    again, same = Resemblance("a", features).evaluate({"a": y})
    assert float(again) == pytest.approx(float(value))
    assert torch.equal(seeds["a"], same["a"])


def test_an_activity_is_an_objective_like_others() -> None:
    network = Sequential({"image": Affine(1.0), "conv": Conv2d(3, 2, 3)})
    steps = list(ascend(network, photo(8, 8), Activity("conv") - 0.5 * Activity("conv", 1), 3, 0.01))
    assert steps[-1].value > steps[0].value
    assert list(steps[0].parts) == ["activity('conv')", "-0.5 * activity('conv:1')"]


@pytest.mark.parametrize(
    ("layers", "expected"),
    [
        ("relu2", [("relu2", None, 1.0)]),
        ("relu2:3", [("relu2", 3, 1.0)]),
        (["relu1", "relu2:0"], [("relu1", None, 1.0), ("relu2", 0, 1.0)]),
        ({"relu1": 2, "conv2:1": -0.5}, [("relu1", None, 2.0), ("conv2", 1, -0.5)]),
    ],
    ids=str,
)
def test_layers_by_name(layers: Layers, expected: Any) -> None:
    assert parsed(layers, small()) == expected


# Steps ----------------------------------------------------------------------------------------------------------------


def test_a_step_by_hand() -> None:
    """y = 2 x: value ½ mean of y², gradient in the ratio of x, divided by its mean size, times the rate."""
    network = Sequential({"double": Affine(2.0)})
    picture = torch.tensor([0.2, 0.6, 0.1, 0.3]).view(1, 1, 2, 2)
    (step,) = dream(network, picture, "double", steps=1, octaves=1, rate=0.1)
    assert step.picture is not None
    expected = picture + 0.1 * picture / 0.3
    torch.testing.assert_close(step.picture, expected)
    assert step.value == pytest.approx(0.5 * 4 * (0.04 + 0.36 + 0.01 + 0.09) / 4)
    assert (step.step, step.steps, step.best, step.best_step) == (1, 1, step.value, 1)
    assert step.parts == {"activity('double')": step.value}


def test_a_step_stays_between_black_and_white() -> None:
    network = Sequential({"shifted": Affine(1.0, -0.5)})
    picture = torch.tensor([0.1, 0.9, 0.5, 0.6]).view(1, 1, 2, 2)
    (step,) = dream(network, picture, "shifted", steps=1, octaves=1, rate=0.3)
    assert step.picture is not None
    assert step.picture.flatten().tolist()[:3] == [0.0, 1.0, 0.5]


def test_a_dream_begins_between_black_and_white() -> None:
    first = next(start(image=2 * photo() - 0.5, octaves=1, jitter=0))
    assert first.value == next(start(image=(2 * photo() - 0.5).clamp(0, 1), octaves=1, jitter=0)).value


def reference(picture: Tensor, layers: dict[str, float], steps: int, octaves: int, jitter: int, seed: int) -> Tensor:
    """The same dream with autograd, in the order of the original notebook."""
    weights = small(picture.dtype).parameters

    def loss(x: Tensor) -> Tensor:
        x = 2 * x.flip(1) - 1
        outputs = {"relu1": F.conv2d(x, weights["conv1.weight"], weights["conv1.bias"], 2, 1).relu()}
        pooled = F.max_pool2d(outputs["relu1"], 3, 2, ceil_mode=True)
        outputs["conv2"] = F.conv2d(pooled, weights["conv2.weight"], weights["conv2.bias"], padding=1)
        total = x.new_zeros(())
        for title, weight in layers.items():
            node, _, channel = title.partition(":")
            y = outputs[node][:, int(channel) : int(channel) + 1] if channel else outputs[node]
            total = total + weight * 0.5 * y.square().mean()
        return total

    generator = torch.Generator().manual_seed(seed)
    height, width = picture.shape[2:]
    detail = None
    for i in reversed(range(octaves)):
        base = scaled(picture, round(height / 1.4**i), round(width / 1.4**i))
        x = base if detail is None else base + scaled(detail, *base.shape[2:])
        for _ in range(steps):
            dy, dx = torch.randint(-jitter, jitter + 1, (2,), generator=generator).tolist()
            x = x.roll((dy, dx), (2, 3)).requires_grad_()
            (d,) = torch.autograd.grad(loss(x), x)
            x = (x.detach() + 1.5 / 255 / d.abs().mean() * d).clamp(0, 1).roll((-dy, -dx), (2, 3))
        detail = x - base
    return x


@pytest.mark.parametrize("tile", [None, 32])
@pytest.mark.parametrize("layers", [{"relu1": 1.0}, {"conv2": 0.3, "relu1:2": 2.0}], ids=str)
def test_a_whole_dream_by_autograd(layers: dict[str, float], tile: int | None) -> None:
    picture = photo(61, 74, dtype=torch.float64)
    run = dream(small(torch.float64), picture, layers, steps=3, octaves=3, jitter=5, tile=tile, seed=7)
    *_, last = run
    assert last.picture is not None
    expected = reference(picture, layers, 3, 3, 5, 7)
    assert last.picture.shape == picture.shape
    torch.testing.assert_close(last.picture, expected, rtol=1e-9, atol=1e-11)


def test_each_picture_of_a_batch_dreams_as_if_alone() -> None:
    pictures = photo(n=2)
    *_, last = start(image=pictures)
    *_, alone = start(image=pictures[1:])
    assert last.picture is not None
    assert alone.picture is not None
    torch.testing.assert_close(last.picture[1:], alone.picture, rtol=0, atol=1e-5)


def test_the_guide_draws_the_dream_to_itself() -> None:
    guide = photo(30, 20)
    network = small()
    run = dream(network, photo(), ["conv2", "relu1:3"], steps=20, octaves=1, guide=guide)
    steps = list(run)
    assert steps[-1].value > steps[0].value
    assert list(steps[0].parts) == ["resemblance('conv2')", "resemblance('relu1:3')"]
    trace = network.forward(guide, keep=("conv2",))
    expected = by_autograd(Resemblance("conv2", trace["conv2"]), network.forward(photo(), keep=("conv2",))["conv2"])
    assert steps[0].parts["resemblance('conv2')"] != 0
    first = next(dream(network, photo(), "conv2", steps=1, octaves=1, guide=guide, jitter=0))
    assert first.value == pytest.approx(expected[0], rel=1e-5)


def test_the_guide_may_be_tiled() -> None:
    guide = photo(60, 70)
    whole = next(start(guide=guide, tile=None)).value
    assert next(start(guide=guide, tile=32)).value == pytest.approx(whole, rel=1e-5)


# Records --------------------------------------------------------------------------------------------------------------


def test_records_are_numbered_over_all_octaves() -> None:
    run = start(preview_every=2)
    steps = list(run)
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert {step.steps for step in steps} == {6}
    assert [step.step for step in steps if step.picture is not None] == [2, 4, 6]
    assert all(step.picture.shape == (1, 3, 40, 52) for step in steps if step.picture is not None)
    assert steps[2].value > steps[0].value
    assert steps[-1].best == max(step.value for step in steps)
    assert all(a.seconds <= b.seconds for a, b in itertools.pairwise(steps))


def test_the_picture_has_its_full_size_at_any_time() -> None:
    run = start()
    assert torch.equal(run.picture(), photo())
    for _ in run:
        picture = run.picture()
        assert picture.shape == (1, 3, 40, 52)
        assert 0 <= float(picture.min()) <= float(picture.max()) <= 1
        assert not torch.equal(picture, photo())


def test_a_picture_that_was_given_away_is_the_callers() -> None:
    expected = bits(start())[1]
    run = start(preview_every=1)
    for step in run:
        assert step.picture is not None
        step.picture.zero_()
    assert torch.equal(run.picture(), expected)


def test_what_came_in_stays_as_it_is() -> None:
    network, picture = small(), photo()
    before = {name: tensor.clone() for name, tensor in network.state.items()}
    list(dream(network, picture, "relu2", steps=2))
    assert torch.equal(picture, photo())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state.items())


def test_dreams_from_noise() -> None:
    *_, last = start(image="noise", size=(30, 44))
    assert last.picture is not None
    assert last.picture.shape == (1, 3, 30, 44)
    assert last.steps == 6
    assert closed(dream(small(), layers="relu2", size=90)).octaves == 6
    one, other = (closed(start(image="noise", size=(30, 44), seed=seed)) for seed in (0, 1))
    assert not torch.equal(one.picture(), other.picture())


def test_noise_has_all_sizes_on_gray() -> None:
    found = noise(3, 200, 130, seed=1)
    assert found.shape == (1, 3, 200, 130)
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(found.std()) == pytest.approx(0.1, rel=0.05)
    halves = [float(F.avg_pool2d(found, size).std()) for size in (4, 16, 32)]
    assert halves[0] > halves[1] > halves[2] > 0.2 * halves[0]
    assert float((found[..., 1:] - found[..., :-1]).abs().mean()) < 0.03


@pytest.mark.parametrize(
    ("size", "octaves", "smallest"), [((40, 52), 4, 19), ((768, 1024), 4, 373), ((30, 4000), 8, 379)]
)
def test_a_large_dream_begins_as_small_as_others(size: tuple[int, int], octaves: int, smallest: int) -> None:
    run = closed(dream(small(), photo(*size), "relu1"))
    assert run.octaves == octaves
    assert run.sizes[0][1] == smallest
    assert run.sizes[-1] == size


# Films ----------------------------------------------------------------------------------------------------------------


def test_a_film_dreams_on_the_frame_before() -> None:
    film = list(start(frames=3, zoom=1.1, rotation=2.0, jitter=0))
    assert len(film) == 18
    frames = [step.picture for step in film if step.picture is not None]
    assert [step.step for step in film if step.picture is not None] == [6, 12, 18]
    *_, first = start(jitter=0)
    assert first.picture is not None
    assert torch.equal(frames[0], first.picture)
    *_, second = start(image=zoomed(first.picture, 1.1, 2.0), jitter=0)
    assert second.picture is not None
    assert torch.equal(frames[1], second.picture)


def test_zooming_by_hand() -> None:
    picture = photo(6, 6)
    assert zoomed(picture, 1.0) is picture
    torch.testing.assert_close(zoomed(picture, 1.0, 90.0), picture.rot90(1, (2, 3)), rtol=0, atol=1e-5)
    flat = torch.full((1, 3, 5, 8), 0.25)
    torch.testing.assert_close(zoomed(flat, 1.3, 20.0), flat)
    slope = torch.linspace(0, 1, 64).expand(1, 3, 32, 64)
    found = zoomed(slope, 2.0)
    torch.testing.assert_close(found[..., 8:56], 0.25 + slope[..., 8:56] / 2, rtol=0, atol=1e-2)
    oblong = zoomed(torch.nn.functional.pad(torch.ones(1, 3, 20, 20), (20, 20)), 1.0, 90.0)
    torch.testing.assert_close(oblong[:, :, 1:-1], torch.ones(1, 3, 18, 60), rtol=0, atol=1e-4)


# Twice the same, interrupted, resumed ---------------------------------------------------------------------------------


def bits(run: Dream) -> tuple[list[float], Tensor]:
    values = [step.value for step in run]
    return values, run.picture()


def test_the_same_seed_gives_the_same_bits() -> None:
    values, picture = bits(start())
    again, same = bits(start())
    assert values == again
    assert torch.equal(picture, same)
    assert not torch.equal(picture, bits(start(seed=1))[1])
    torch.manual_seed(9)
    for _ in zip(*(runs := [start(), start()]), strict=True):
        torch.rand(1)
    assert all(torch.equal(run.picture(), picture) for run in runs)


KINDS = {
    "photo": {},
    "noise": {"image": "noise", "size": 30},
    "film": {"frames": 2, "rotation": 1.0, "steps": 2},
    "tiled": {"tile": 32},
    "guided": {"guide": photo(20, 20), "layers": {"relu2": 1, "conv1:2": 0.5}},
    "double": {"image": photo(dtype=torch.float64)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_resumed_it_gives_the_same_bits(kind: str, tmp_path: Path) -> None:
    settings = KINDS[kind]
    whole = start(**settings)
    values, picture = bits(whole)
    for count in range(1, len(values) + 1):
        state = tmp_path / f"state{count}"
        first = start(state=state, **settings)
        early = [step.value for step in itertools.islice(first, count)]
        shown = first.picture()
        first.close()
        second = start(state=state, resume=True, **settings)
        assert torch.equal(second.picture(), shown)
        late, resumed = bits(second)
        assert early + late == values
        assert torch.equal(resumed, picture)
        assert (second.best_value, second.best_step) == (whole.best_value, whole.best_step)


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    list(start(state=state))
    for other, told in (
        ({"seed": 1}, "seed in the file is 0, here it is 1"),
        ({"rate": 0.1}, "rate"),
        ({"layers": "relu1"}, "objective"),
        ({"image": photo() * 0.5}, "picture"),
        ({"steps": 4}, "steps of an octave"),
        ({"octaves": 3}, "octaves"),
        ({"tile": 32}, "tile"),
        ({"zoom": 1.2}, "film"),
        ({"guide": photo(20, 20)}, "objective"),
    ):
        with pytest.raises(FormatError, match=f"cannot resume, the {told}"):
            start(state=state, resume=True, **other)
    list(start(state=state, guide=photo(20, 20)))
    with pytest.raises(FormatError, match="guide at 'relu2'"):
        start(state=state, resume=True, guide=photo(22, 22))
    assert closed(start(state=state)).step == 0
    assert closed(start(state=tmp_path / "none", resume=True)).step == 0


def test_a_film_may_become_longer(tmp_path: Path) -> None:
    state = tmp_path / "state"
    list(start(state=state))
    longer = start(state=state, resume=True, frames=2)
    assert (longer.step, longer.steps) == (6, 12)
    assert torch.equal(bits(longer)[1], bits(start(frames=2))[1])


def test_ctrl_c_ends_after_the_step_with_everything_usable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    values, picture = bits(start())
    state = tmp_path / "state"
    run = start(state=state)
    advance = Dream.advance

    def pressed(self: Dream) -> Any:
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return advance(self)

    monkeypatch.setattr(Dream, "advance", pressed)
    seen: list[PictureRecord] = []
    with pytest.raises(KeyboardInterrupt):
        seen.extend(run)
    monkeypatch.undo()
    assert run.step == 3
    assert run.picture().shape == (1, 3, 40, 52)
    late, resumed = bits(start(state=state, resume=True))
    assert late == values[3:]
    assert torch.equal(resumed, picture)


def test_state_is_written_from_time_to_time(tmp_path: Path) -> None:
    state = tmp_path / "state"
    run = start(state=state)
    run.save_seconds = 0.0
    next(run)
    assert closed(start(state=state, resume=True)).step == 1


# Bad input ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, came 0"),
        ({"steps": 2.5}, "steps must be a whole number"),
        ({"octaves": 0}, "octaves must be"),
        ({"frames": 0}, "frames must be"),
        ({"octave_scale": 1.0}, "octave_scale above 1"),
        ({"rate": 0.0}, "rate above 0, up to 1, came 0.0"),
        ({"rate": float("nan")}, "rate above 0, up to 1, came nan"),
        ({"zoom": 0.0}, "zoom above 0"),
        ({"jitter": -1}, "a jitter of 0 to"),
        ({"jitter": 1.5}, "a jitter of 0 to"),
        ({"octaves": 5000}, "at most 64 octaves"),
        ({"octave_scale": 1e200}, "octave_scale above 1, up to 64"),
        ({"rotation": math.inf, "frames": 2}, "a finite rotation"),
        ({"image": "noise", "size": (24, 24, 24)}, "one number for both"),
        ({"image": "noise", "size": 24.0}, "one number for both"),
        ({"layers": 5}, "expected a layer, several, or weights"),
        ({"preview_every": 0}, "preview_every"),
        ({"resume": True}, "needs the path"),
        ({"image": "nois"}, "a picture or 'noise'"),
        ({"size": 20}, "size is for noise"),
        ({"image": "noise", "size": 0}, "height must be"),
        ({"layers": []}, "at least one layer"),
        ({"layers": {"relu2": 0}}, "weights other than 0"),
        ({"layers": "relu2:4"}, "'relu2' has 4 channels, 0…3; there is no channel 4"),
        ({"layers": "relu2:x"}, "node or node:channel"),
        ({"tile": 0}, "tile must be at least 1"),
        ({"tile": 16}, r"tile must be at least \d+ pixels for these nodes, came 16"),
        ({"octaves": 12}, "the smallest octave of 1 x 1 is too small"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        start(**settings)


def test_bad_layers_and_pictures_are_refused() -> None:
    with pytest.raises(GraphError, match="no layer 'relu3'; did you mean 'relu"):
        start(layers="relu3")
    with pytest.raises(GraphError, match="no layer 'rel'"):
        start(layers="rel:3")
    for layer in ("fc", "pool2"):
        with pytest.raises(ShapeError, match=rf"of node '{layer}' an output \(n, channels, h, w\), came 1 x"):
            start(layers=layer)
    with pytest.raises(ShapeError, match="picture"):
        start(image=torch.rand(3, 20, 20))
    with pytest.raises(ShapeError, match="not finite"):
        start(image=photo() / 0)
    with pytest.raises(ShapeError, match="one picture as a guide"):
        start(guide=photo(n=2))
    with pytest.raises(SettingError, match="one input"):
        dream(Network(small().nodes, ("x", "z")), photo(), "relu2")
    fixed = Sequential({"conv": Conv2d(3, 2, 3), "flat": Flatten(), "fc": Linear(2 * 14 * 14, 2)})
    with pytest.raises(ShapeError, match="'fc' an output"):
        dream(fixed, photo(16, 16), "fc", octaves=1)
    too_deep = Sequential({"conv": Conv2d(3, 2, 9)})
    with pytest.raises(SettingError, match="smallest octave of 7 x 9 is too small for the network, use fewer"):
        dream(too_deep, photo(20, 24), "conv", octaves=4)


def test_a_layer_with_nothing_to_say_is_told() -> None:
    network = small()
    network.parameters["conv2.bias"].fill_(-1e3)
    with pytest.raises(SettingError, match=r"step 1: the gradient of activity\('relu2'\) is zero everywhere"):
        next(dream(network, photo(), "relu2"))


def test_numbers_that_overflow_are_told() -> None:
    network = small()
    network.parameters["conv2.bias"].fill_(float("nan"))
    with pytest.raises(NotFiniteError, match="step 1"):
        next(dream(network, photo(), "relu2"))


# A real network -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_googlenet_dreams(data_file: DataFile) -> None:
    path, sky = data_file("weights/googlenet_bvlc.safetensors"), data_file("art/deepdream_sky.jpg")
    network = with_preprocessing(pretrained("googlenet", path))
    picture = read_picture(sky, longest=192)
    steps = list(dream(network, picture, octaves=2))
    assert steps[-1].value > 3 * steps[0].value
    assert list(steps[0].parts) == ["activity('inception_4c')"]
    assert steps[-1].picture is not None
    assert 0.02 < float((steps[-1].picture - picture).abs().mean()) < 0.2
