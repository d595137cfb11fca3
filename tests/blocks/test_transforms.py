"""Random changes of pictures, beyond the common checks: what is drawn, when, and for whom; the moves by hand."""

import collections
import json

import pytest
import torch
from torch import Tensor

from blockprop.blocks import GridSample, Jitter, Noise, RandomAffine, RandomCrop
from blockprop.engine.check import check_network
from blockprop.engine.objectives import mean_squared_error
from blockprop.engine.sequential import Sequential
from blockprop.errors import SettingError
from tests.blocks.running import back, close, made, run, seeds_for
from tests.cases import Case
from tests.cases.transforms import CASES as RANDOM

each_row = pytest.mark.parametrize("case", RANDOM, ids=str)

ALL = [
    lambda: Jitter(2),
    lambda: Jitter(3, "wrap"),
    lambda: RandomCrop(5),
    lambda: RandomAffine(30),
    lambda: RandomAffine(scales=(0.5, 2)),
    lambda: RandomAffine(shift=2),
    lambda: Noise(0.1),
]
each_block = pytest.mark.parametrize("make", ALL, ids=lambda make: repr(make()))


def picture(n: int = 2, size: int = 9) -> Tensor:
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@each_row
def test_a_batch_of_one_draws_as_the_first_of_a_batch(case: Case) -> None:
    block, (x,) = made(case), case.tensors()
    (whole,), _ = run(block, case, x)
    (first,), _ = run(block, case, x[:1])
    close(first, whole[:1])


@each_row
def test_an_empty_batch_comes_back_empty(case: Case) -> None:
    block, (x,) = made(case), case.tensors()
    (y,), saved = run(block, case, x[:0])
    assert y.shape == (0, *run(block, case, x)[0][0].shape[1:])
    assert back(block, saved, (y,))[0][0].shape == x[:0].shape


@each_row
def test_settings_and_a_seed_make_an_equal_block(case: Case) -> None:
    block = made(case)
    twin = type(block)(**json.loads(json.dumps(block.settings)))
    twin.generator = torch.Generator()
    (y,), _ = run(block, case, *case.tensors())
    assert torch.equal(y, run(twin, case, *case.tensors())[0][0])


@pytest.mark.cuda
@each_row
def test_a_generator_on_the_cpu_draws_the_same_for_cuda(case: Case) -> None:
    block, (x,) = made(case), case.tensors()
    outputs, saved = run(block, case, x)
    there, saved_there = run(block, case, x.cuda())
    d_outputs = seeds_for(outputs)
    (d_x,), (d_x_there,) = back(block, saved, d_outputs)[0], back(block, saved_there, (d_outputs[0].cuda(),))[0]
    torch.testing.assert_close(there[0].cpu(), outputs[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(d_x_there.cpu(), d_x, rtol=1e-9, atol=1e-9)


@each_block
def test_each_example_and_each_pass_draws_anew(make) -> None:
    block, x = make(), picture(1).expand(8, 3, 9, 9)
    block.generator = torch.Generator().manual_seed(0)
    first, second = block(x), block(x)
    assert not torch.equal(first, second)
    assert any(not torch.equal(first[0], other) for other in first[1:])


@each_block
def test_a_network_with_a_seed_repeats_itself(make) -> None:
    network, x = Sequential(make()), picture()
    assert torch.equal(network.seed(3)(x), network.seed(3)(x))
    assert not torch.equal(network.seed(3)(x), network.seed(4)(x))


@each_block
def test_without_a_generator_torch_draws(make) -> None:
    torch.manual_seed(5)
    first = make()(picture())
    torch.manual_seed(5)
    assert torch.equal(make()(picture()), first)


@each_block
def test_shapes_are_found_without_numbers_and_without_drawing(make) -> None:
    block = make()
    state = torch.get_rng_state()
    assert block(torch.empty(2, 3, 9, 9, device="meta")).shape == block(picture()).shape
    if not isinstance(block, Noise):
        torch.set_rng_state(state)
        block(torch.empty(2, 3, 9, 9, device="meta"))
        assert torch.equal(torch.get_rng_state(), state)


@each_block
def test_float32_is_changed_as_float64_is(make) -> None:
    if isinstance(make(), Noise):
        pytest.skip("torch draws other normal numbers in float32")
    block, outputs = make(), []
    for dtype in (torch.float32, torch.float64):
        block.generator = torch.Generator().manual_seed(1)
        outputs.append(block(picture().to(dtype)))
    assert outputs[0].dtype == torch.float32
    torch.testing.assert_close(outputs[0].double(), outputs[1], rtol=1e-4, atol=1e-4)


def test_all_shifts_and_corners_are_equally_likely() -> None:
    many = torch.empty(4000, 1, 5, 6)
    for block, places in ((Jitter(1), (range(-1, 2), range(-1, 2))), (RandomCrop((4, 3)), (range(2), range(4)))):
        block.generator = torch.Generator().manual_seed(0)
        drawn = block.draw(many)
        for axis, expected in enumerate(places):
            counts = collections.Counter(place[axis] for place in drawn)
            assert counts.keys() == set(expected)
            share = 4000 / len(expected)
            assert max(abs(count - share) for count in counts.values()) < 5 * share**0.5  # five standard deviations


def test_angles_scales_and_shifts_fill_their_ranges() -> None:
    block = RandomAffine(10, (0.5, 2.0), 3)
    block.generator = torch.Generator().manual_seed(0)
    drawn = block.draw(torch.empty(4000, 1, 5, 6))
    least, most = torch.tensor([-10, 0.5, -3, -3]).double(), torch.tensor([10, 2, 3, 3]).double()
    assert (drawn >= least).all()
    assert (drawn <= most).all()
    torch.testing.assert_close(drawn.amin(0), least, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.amax(0), most, rtol=0, atol=0.02)
    torch.testing.assert_close(drawn.mean(0), (least + most) / 2, rtol=0, atol=0.3)


def affine(monkeypatch: pytest.MonkeyPatch, *numbers: float, border: float | str = 0.0) -> RandomAffine:
    """A block that draws these numbers."""
    block = RandomAffine(border=border)
    monkeypatch.setattr(block, "draw", lambda x: torch.tensor([numbers], dtype=torch.float64).repeat(len(x), 1))
    return block


@pytest.mark.parametrize("size", [(5, 5), (4, 4)])
def test_a_quarter_turn_is_counterclockwise(monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]) -> None:
    x = torch.rand(2, 3, *size, dtype=torch.float64)
    y = affine(monkeypatch, 90, 1, 0, 0, border="replicate")(x)
    torch.testing.assert_close(y, x.rot90(1, (2, 3)), rtol=1e-9, atol=1e-9)


def test_a_turn_keeps_the_shape_of_things_in_wide_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.zeros(1, 1, 5, 11, dtype=torch.float64)
    x[0, 0, 2, 7] = 1  # two to the right of the middle: afterwards two above it
    y = affine(monkeypatch, 90, 1, 0, 0)(x)
    expected = torch.zeros_like(x)
    expected[0, 0, 0, 5] = 1
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)


def test_a_shift_moves_down_and_right_and_shows_the_border(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.rand(1, 2, 4, 6, dtype=torch.float64)
    expected = torch.full_like(x, 0.5)
    expected[:, :, 1:, 2:] = x[:, :, :-1, :-2]
    y = affine(monkeypatch, 0, 1, 1, 2, border=0.5)(x)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9)
    y = affine(monkeypatch, 0, 1, -9, 0, border="replicate")(x)
    torch.testing.assert_close(y, x[:, :, -1:].expand_as(x), rtol=1e-9, atol=1e-9)


def test_a_scale_above_one_enlarges_about_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = torch.arange(-4.0, 5, dtype=torch.float64).expand(1, 1, 9, 9)
    torch.testing.assert_close(affine(monkeypatch, 0, 2, 0, 0)(columns), columns / 2, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("border", [0.5, "replicate"])
def test_torchs_kernel_goes_back_as_grid_sample_does(border: float | str) -> None:
    block = RandomAffine(180, (0.5, 2), 3, border)
    block.generator = torch.Generator().manual_seed(0)
    x = torch.rand(8, 3, 13, 10, dtype=torch.float64)
    y, grid = block.forward(x)
    d_y = torch.randn_like(y)
    plain = GridSample(padding_mode="border" if border == "replicate" else "zeros")
    torch.testing.assert_close(
        block.propagate(grid, d_y)[0], plain.propagate((x, grid), d_y)[0], rtol=1e-11, atol=1e-11
    )


def test_jitter_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.arange(25.0).view(1, 1, 5, 5)
    crop, wrap = Jitter(1), Jitter(1, "wrap")
    for block in (crop, wrap):
        monkeypatch.setattr(block, "draw", lambda _: [[1, -1]])
    y, saved = crop.forward(x)
    assert torch.equal(y, x[:, :, 0:3, 2:5])
    assert crop.propagate(saved, torch.ones_like(y))[0].sum() == 9
    y, saved = wrap.forward(x)
    assert torch.equal(y, x.roll((1, -1), (2, 3)))
    assert torch.equal(wrap.propagate(saved, y)[0], x)


def test_a_pipeline_of_them_goes_back_right() -> None:
    network = Sequential(
        RandomAffine(10, (0.9, 1.1), 1), Jitter(2), Noise(0.1), RandomCrop((4, 3)), {"wrap": Jitter(3, "wrap")}
    )
    target = torch.zeros(2, 3, 4, 3, dtype=torch.float64)
    check_network(network, picture(), objective=mean_squared_error(), target=target, wrt="inputs").verify()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Jitter(-1),
        lambda: Jitter(1, "mirror"),
        lambda: RandomCrop(0),
        lambda: RandomCrop((1, 2, 3)),
        lambda: RandomAffine(scales=(0, 1)),
        lambda: RandomAffine(scales=(2, 1)),
        lambda: RandomAffine(scales=(1,)),
        lambda: RandomAffine(border="mirror"),
        lambda: Noise(-0.1),
    ],
)
def test_bad_settings_are_refused(make) -> None:
    with pytest.raises(SettingError):
        make()
