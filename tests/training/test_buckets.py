"""Gradients travel in buckets, planned once, sent as soon as the sweep has left them."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from blockprop.training.buckets import Summing, planned

PARAMETERS = {
    "d": torch.zeros(2, 100),
    "c": torch.zeros(300),
    "b": torch.zeros(300, dtype=torch.float64),
    "a": torch.zeros(3),
}


class Fake:
    """A cable to a process with equal gradients.   log: what happens, in turn.   late: what arrives arrives late."""

    def __init__(self, late: bool = False) -> None:
        self.log: list[str] = []
        self.late = late

    def start(self, numbers: Tensor) -> "Fake":
        self.log.append(f"send {numbers.numel()}")
        numbers.mul_(2)
        return self

    def is_completed(self) -> bool:
        return not self.late

    def summing(self) -> Summing:
        return Summing(list(PARAMETERS), PARAMETERS, self.start, lambda _: None, lambda numbers: numbers)

    def sweep(self, left_out: str = "") -> Iterator[tuple[str, Tensor]]:
        for name, parameter in PARAMETERS.items():
            if name not in left_out:
                self.log.append(f"sweep {name}")
                yield name, torch.full_like(parameter, 3)


def test_the_first_bucket_is_small_and_each_has_one_type() -> None:
    names = [list(bucket.views) for bucket in planned(list(PARAMETERS), PARAMETERS, first=1000, most=2300)]
    assert names == [["d"], ["c"], ["b"], ["a"]]
    alike = {name: torch.zeros(100) for name in "abcdefg"}
    names = [list(bucket.views) for bucket in planned(list(alike), alike, first=400, most=1250)]
    assert names == [["a"], ["b", "c", "d"], ["e", "f", "g"]]
    (bucket,) = planned(["d"], PARAMETERS)
    assert bucket.views["d"].shape == (2, 100)
    assert bucket.views["d"].data_ptr() == bucket.numbers.data_ptr()


def test_each_gradient_is_the_sum_and_the_order_that_of_the_sweep() -> None:
    summing = Fake().summing()
    for _ in range(2):
        summed = {name: gradient.clone() for name, gradient in summing.summed(Fake().sweep())}
        assert list(summed) == list(PARAMETERS)
        for name, gradient in summed.items():
            assert torch.equal(gradient, torch.full_like(PARAMETERS[name], 6))


@pytest.mark.parametrize("late", [False, True])
def test_a_bucket_is_sent_before_the_sweep_goes_on(late: bool) -> None:
    fake = Fake(late)
    summing = fake.summing()
    list(summing.summed(fake.sweep()))
    fake.log.clear()
    for name, _ in summing.summed(fake.sweep()):
        fake.log.append(f"take {name}")
    took = ["take d", "take c"]
    assert fake.log == [
        *("sweep d", "sweep c", "sweep b", "send 500"),
        *([] if late else took),
        *("sweep a", "send 300"),
        *([] if late else ["take b"]),
        "send 3",
        *([*took, "take b"] if late else []),
        "take a",
    ]


def test_what_one_process_has_no_examples_for_counts_as_nothing() -> None:
    summing = Fake().summing()
    list(summing.summed(Fake().sweep()))
    summed = dict(summing.summed(iter(())))
    assert list(summed) == list(PARAMETERS)
    assert not any(gradient.any() for gradient in summed.values())


def test_what_no_sweep_reaches_is_not_updated() -> None:
    summing = Fake().summing()
    assert [name for name, _ in summing.summed(Fake().sweep("bd"))] == ["c", "a"]
    assert [name for name, _ in summing.summed(Fake().sweep("bd"))] == ["c", "a"]
