"""What makes pictures, beyond the common checks: ways back, numbers by hand, adjoints at real sizes, odd tensors."""

import math

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Blur, ColorMix, Sigmoid, Spectrum
from blockprop.errors import SettingError, ShapeError

SIZES = [(64, 48), (33, 50), (30, 47), (17, 17), (1, 5), (6, 1)]


def dot(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("decay", [0.0, 1.0, 2.0])
def test_a_picture_has_a_spectrum_and_is_made_from_it(size: tuple[int, int], decay: float) -> None:
    image = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    block = Spectrum(*size, decay)
    x = block.of(image)
    assert x.shape == (2, 3, size[0], size[1] // 2 + 1, 2)
    torch.testing.assert_close(block(x), image, rtol=1e-11, atol=1e-11)
    single = block(block.of(image.float()))
    assert single.dtype == torch.float32
    torch.testing.assert_close(single, image.float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", SIZES)
def test_propagate_is_the_adjoint_of_the_spectrum(size: tuple[int, int]) -> None:
    """<y, d_y> = <x, d_x> for a linear map; also in the columns that stand for themselves."""
    generator, block = torch.Generator().manual_seed(0), Spectrum(*size)
    x, d_y = block.start(2, 3, generator, 1.0).double(), torch.randn(2, 3, *size, generator=generator).double()
    y, saved = block.forward(x)
    assert dot(y, d_y) == pytest.approx(dot(x, block.propagate(saved, d_y)[0]), rel=1e-10)


def test_a_wave_by_hand() -> None:
    """One period along 4 columns: frequency 1/4, scale 4, of 16 elements: 2 · 4 / 4 · cos / √16."""
    x = torch.zeros(1, 1, 4, 3, 2, dtype=torch.float64)
    x[0, 0, 0, 1, 0] = 1
    expected = torch.tensor([0.5, 0, -0.5, 0], dtype=torch.float64).expand(1, 1, 4, 4)
    torch.testing.assert_close(Spectrum(4, 4)(x), expected, rtol=1e-12, atol=1e-12)


def test_a_start_can_be_repeated_and_has_its_deviation() -> None:
    block = Spectrum(40, 30)
    first, second = (block.start(2, 4, torch.Generator().manual_seed(3)) for _ in range(2))
    assert first.shape == (2, 4, 40, 16, 2)
    assert torch.equal(first, second)
    assert float(first.std()) == pytest.approx(0.01, rel=0.03)  # of 10 240 numbers
    assert float(block.start(1, generator=torch.Generator(), deviation=2.0).std()) == pytest.approx(2, rel=0.05)
    # lucid's start: a nearly gray picture, smooth
    assert float(torch.sigmoid(ColorMix()(block(block.start(1))))[0].sub(0.5).abs().max()) < 0.1


def test_a_photograph_survives_the_way_there_and_back() -> None:
    photo = torch.rand(1, 3, 21, 34, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spectrum, colors = Spectrum(21, 34), ColorMix()
    x = spectrum.of(colors.unmixed(torch.logit(photo, 1e-3)))
    torch.testing.assert_close(Sigmoid()(colors(spectrum(x))), photo.clamp(1e-3, 1 - 1e-3), rtol=1e-9, atol=1e-9)


def test_the_numbers_of_lucid() -> None:
    """Its largest column is the first, of length √(0.26² + 0.27² + 0.27²)."""
    gray = ColorMix()(torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1)).flatten()
    length = math.sqrt(0.26**2 + 2 * 0.27**2)
    torch.testing.assert_close(gray, torch.tensor([0.26, 0.27, 0.27]) / length)


def test_another_matrix_is_not_normalized_and_has_its_inverse() -> None:
    block = ColorMix([[2, 0], [1, 4]])
    x = torch.tensor([1.0, 1.0]).view(1, 2, 1, 1)
    assert block(x).flatten().tolist() == [2, 5]
    assert block.unmixed(block(x)).flatten().tolist() == [1, 1]
    with pytest.raises(ShapeError, match=r"expected \(n, 2, h, w\)"):
        block.unmixed(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("sigma", [0.4, 1.0, 5.0, 1e6])
def test_a_blur_keeps_one_color_and_its_adjoint_keeps_the_sum(sigma: float) -> None:
    block, d_y = Blur(sigma), torch.rand(1, 2, 9, 13, dtype=torch.float64)
    y, saved = block.forward(torch.full((1, 2, 9, 13), 0.7, dtype=torch.float64))
    torch.testing.assert_close(y, torch.full_like(y, 0.7), rtol=1e-12, atol=0)
    assert float(block.propagate(saved, d_y)[0].sum()) == pytest.approx(float(d_y.sum()), rel=1e-12)


def test_a_blurred_point_is_a_gaussian() -> None:
    """As wide as it says: its variance is sigma², to what 4 sigma cut off."""
    x = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    x[0, 0, 20, 20] = 1
    y, places = Blur(2.0)(x)[0, 0], torch.arange(-20, 21, dtype=torch.float64)
    assert float(y.sum()) == pytest.approx(1)
    assert dot(y.sum(0), places**2) == pytest.approx(4, rel=3e-3)
    assert torch.equal(y, y.flip(0))
    assert int((y > 0).sum()) == 17**2


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype: torch.dtype) -> None:
    x = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    for block in (Blur(1.0), ColorMix()):
        y, saved = block.forward(x.to(dtype))
        (d_x,) = block.propagate(saved, y)
        assert y.dtype == d_x.dtype == dtype
        torch.testing.assert_close(y.float(), block(x), rtol=0.05, atol=0.02)


def test_shapes_are_found_without_numbers() -> None:
    x = torch.empty(2, 3, 5, 4, 2, device="meta")
    assert Spectrum(5, 6)(x).shape == (2, 3, 5, 6)
    assert Blur(1.0)(x[..., 0]).shape == ColorMix()(x[..., 0]).shape == (2, 3, 5, 4)


def test_what_inference_mode_leaves_behind_can_be_used_outside() -> None:
    block = Spectrum(11, 13, 0.75)
    with torch.inference_mode():
        block(block.start(1).double())
    x = block.start(1).double().requires_grad_()
    block(x).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spectrum(0, 4),
        lambda: Blur(0.0),
        lambda: Blur(math.nan),
        lambda: Blur(1.0, -1),
        lambda: ColorMix([[1, 2, 3], [4, 5, 6]]),
        lambda: ColorMix([[1, 2], [2, 4]]),
        lambda: ColorMix([]),
    ],
)
def test_bad_settings_are_refused(make) -> None:
    with pytest.raises(SettingError):
        make()


def test_a_picture_of_another_size_has_no_such_spectrum() -> None:
    with pytest.raises(ShapeError, match=r"expected \(n, c, 4, 6\), came \(1, 3, 4, 5\)"):
        Spectrum(4, 6).of(torch.zeros(1, 3, 4, 5))
