"""Datasets: indexing, splitting, and labels that do not fit."""

import pytest
import torch

from blockprop.data.dataset import Data, Dataset
from blockprop.errors import DataError, SettingError


def labeled(counts: tuple[int, ...]) -> Dataset:
    y = torch.cat([torch.full((count,), c) for c, count in enumerate(counts)])
    return Dataset(torch.arange(float(len(y)))[:, None], y, tuple("abc"[: len(counts)]), "letters")


def test_size_shape_and_outputs() -> None:
    data = Dataset(torch.zeros(3, 1, 8, 8), torch.tensor([0, 1, 1]), ("no", "yes"))
    assert (len(data), data.shape, data.output_count) == (3, (1, 8, 8), 2)
    assert Dataset(torch.zeros(3, 2), torch.zeros(3)).output_count == 1
    assert Dataset(torch.zeros(3, 2), torch.zeros(3, 5)).output_count == 5
    with pytest.raises(DataError, match="has no labels"):
        _ = Dataset(torch.zeros(3, 2)).output_count


def test_repr_says_what_it_is() -> None:
    assert repr(labeled((2, 1))) == "Dataset(letters: 3 examples of 1, 2 classes)"
    assert repr(Dataset(torch.zeros(2, 4), torch.zeros(2, 3))) == "Dataset(data: 2 examples of 4, 3 targets)"
    assert repr(Dataset(torch.zeros(2, 4))) == "Dataset(data: 2 examples of 4, no labels)"


@pytest.mark.parametrize(
    ("indices", "expected"),
    [(2, [2.0]), ([4, 0], [4.0, 0.0]), (slice(1, 3), [1.0, 2.0]), (torch.tensor([3]), [3.0]), ([], []), (-1, [4.0])],
)
def test_indices_give_a_dataset(indices, expected: list[float]) -> None:
    part = labeled((3, 2))[indices]
    assert part.x[:, 0].tolist() == expected
    assert part.classes == ("a", "b")
    assert part.y is not None
    assert part.y.dtype == torch.int64
    assert len(part.y) == len(expected)


def test_a_mask_selects() -> None:
    assert labeled((3, 2))[torch.tensor([True, False, False, False, True])].x[:, 0].tolist() == [0.0, 4.0]


def test_split_keeps_the_shares_of_the_classes() -> None:
    rest, part = labeled((50, 30, 20)).split(0.1, seed=3)
    assert part.y.bincount().tolist() == [5, 3, 2]
    assert rest.y.bincount().tolist() == [45, 27, 18]
    assert sorted(torch.cat([rest.x, part.x])[:, 0].tolist()) == list(range(100))


def test_split_shares_out_remainders_and_leaves_one_of_each_class() -> None:
    rest, part = labeled((7, 7, 1)).split(0.5)
    assert part.y.bincount().tolist() == [4, 4]  # of round(7.5) = 8: 3.5, 3.5 and 0.5, the first remainders first
    assert rest.y.bincount().tolist() == [3, 3, 1]
    rest, part = labeled((3, 1)).split(0.75)
    assert rest.y.bincount().tolist() == [1, 1]  # 2.25 and 0.75 would take the only b


def test_split_is_reproducible() -> None:
    data = labeled((40, 40))
    assert torch.equal(data.split(0.25, 5)[1].x, data.split(0.25, 5)[1].x)
    assert not torch.equal(data.split(0.25, 5)[1].x, data.split(0.25, 6)[1].x)
    state = torch.get_rng_state()
    data.split(0.25)
    assert torch.equal(torch.get_rng_state(), state)


def test_split_without_labels_and_of_targets() -> None:
    for y in (None, torch.rand(10)):
        rest, part = Dataset(torch.arange(10.0)[:, None], y).split(0.3)
        assert (len(rest), len(part)) == (7, 3)


@pytest.mark.parametrize("fraction", [0, 1, -0.1, float("nan")])
def test_split_refuses_fractions_outside(fraction: float) -> None:
    with pytest.raises(SettingError, match="fraction between 0 and 1"):
        labeled((3, 3)).split(fraction)


def test_split_refuses_empty_parts() -> None:
    with pytest.raises(DataError, match=r"letters: 3 examples are too few to split off 0\.1"):
        labeled((1, 1, 1)).split(0.1)
    with pytest.raises(DataError, match="as each of the 3 classes keeps one"):
        labeled((1, 1, 1)).split(0.4)


def test_labels_that_do_not_fit() -> None:
    with pytest.raises(DataError, match="data: 3 examples but 2 labels"):
        Dataset(torch.zeros(3, 1), torch.zeros(2))
    with pytest.raises(DataError, match=r"label 2 in row 3; expected 0 to 1"):
        Dataset(torch.zeros(3, 1), torch.tensor([0, 1, 2]), ("a", "b"))
    with pytest.raises(DataError, match=r"label -1 in row 1"):
        Dataset(torch.zeros(3, 1), torch.tensor([-1, 1, 0]), ("a", "b"))


def test_data_unpack_into_training_and_test_part() -> None:
    whole = Dataset(torch.zeros(4, 2), torch.tensor([0, 1, 0, 1]), ("a", "b"))
    train, test = Data(whole[:3], whole[3:])
    assert (len(train), len(test)) == (3, 1)
    train, test = Data(whole)
    assert train is whole
    assert test is None
