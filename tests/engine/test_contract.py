"""Each check of a block's contract, on a block in which it finds a fault."""

import pytest
import torch
from torch import Tensor

from blockprop.blocks import Linear
from blockprop.engine.block import Block
from blockprop.engine.check import check_block
from blockprop.engine.contract import CHECKS
from blockprop.engine.sequential import Sequential
from blockprop.errors import GradientError, SettingError
from blockprop.saving.fingerprints import fingerprint


class NoSaved(Linear):
    """Returns its output alone."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)[0]


class NoNumber(Linear):
    """The logarithm of numbers below 0."""

    def forward(self, x: Tensor) -> tuple:
        return (-x.abs() - 1).log(), x


class NotATuple(Linear):
    """Returns the one derivative bare."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> Tensor:
        return super().propagate(saved, d_y)[0]


class OneTooMany(Linear):
    """Returns two derivatives for its one input."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (*super().propagate(saved, d_y), None)


class Flat(Linear):
    """Returns a derivative in another shape than the input's."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (super().propagate(saved, d_y)[0].flatten(),)


class NoBias(Linear):
    """Forgets the derivative by its bias."""

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        return {"weight": super().gradients(saved, d_y)["weight"]}


class Row(Linear):
    """Returns the bias gradient as a row."""

    def gradients(self, saved: Tensor, d_y: Tensor) -> dict:
        d = super().gradients(saved, d_y)
        return d | {"bias": d["bias"].unsqueeze(0)}


class KeepsATensor(Block):
    """y = factor · x, the factor an argument of the constructor."""

    def __init__(self, factor: Tensor) -> None:
        self.factor = factor

    def __repr__(self) -> str:
        return "KeepsATensor"

    def forward(self, x: Tensor) -> tuple:
        return self.factor * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (self.factor * d_y,)


class Scale(Block):
    """y = scale ∘ x, with a weight that nothing lists."""

    def __init__(self, count: int = 4) -> None:
        self.count = count
        self.scale = torch.ones(count)

    def forward(self, x: Tensor) -> tuple:
        return self.scale * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (self.scale * d_y,)


class UntrainedScale(Scale):
    """The same with a weight that torch would train."""

    def __init__(self, count: int = 4) -> None:
        super().__init__(count)
        self.scale = torch.nn.Parameter(torch.ones(count))


class ForgetsACount(Scale):
    """Does not keep its argument."""

    buffer_names = ("scale",)

    def __init__(self, count: int) -> None:
        self.scale = torch.ones(count)


class InPlaceForward(Block):
    """y = 2 x, written over x."""

    def forward(self, x: Tensor) -> tuple:
        return x.mul_(2), None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (2 * d_y,)


class Forgetful(Block):
    """Keeps a state, so that no two calls are alike."""

    calls = 0

    def forward(self, x: Tensor) -> tuple:
        self.calls += 1
        return x * self.calls, self.calls

    def propagate(self, saved: int, d_y: Tensor) -> tuple:
        return (saved * d_y,)


class InPlaceBackward(Linear):
    """Writes over the d_y that it is given."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        d_y.mul_(2)
        return ((d_y / 2) @ self.weight,)


class Square(Block):
    """y = x², which goes back from a copy of x."""

    def forward(self, x: Tensor) -> tuple:
        return x * x, x.clone()

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (2 * saved * d_y,)


class OverSaved(Square):
    """Writes over what forward saved."""

    def propagate(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (saved.mul_(2) * d_y,)


class OverInput(OverSaved):
    """Writes over what forward saved, which is the input itself."""

    def forward(self, x: Tensor) -> tuple:
        return x * x, x


class Keeper(Square):
    """Keeps x on the block, so that a second forward call spoils the first one's way back."""

    def forward(self, x: Tensor) -> tuple:
        self.x = x.clone()
        return x * x, None

    def propagate(self, saved: None, d_y: Tensor) -> tuple:
        return (2 * self.x * d_y,)


class Halved(Linear):
    """Finds half the error if it finds the gradients with it."""

    def both(self, saved: Tensor, d_y: Tensor) -> tuple:
        return (self.propagate(saved, d_y)[0] / 2,), self.gradients(saved, d_y)


class Unsummed(Linear):
    """Finds another gradient if it finds the error with it."""

    def both(self, saved: Tensor, d_y: Tensor) -> tuple:
        return self.propagate(saved, d_y), self.gradients(saved, d_y) | {"bias": d_y[0]}


class NeedsBoth(Block):
    """x and 3 x; cannot do without the error of one of them."""

    output_count = 2

    def forward(self, x: Tensor) -> tuple:
        return (x.clone(), 3 * x), None

    def propagate(self, saved: None, d_y: tuple) -> tuple:
        return (d_y[0] + 3 * d_y[1],)


class NoneIsOne(NeedsBoth):
    """Takes an error that is missing for 1."""

    def propagate(self, saved: None, d_y: tuple) -> tuple:
        first, second = (1.0 if d is None else d for d in d_y)
        return (first + 3 * second,)


def altered(**attributes: object) -> Linear:
    """A block with other attributes than it should have."""
    block = Linear(4, 4)
    vars(block).update(attributes)
    return block


FAULTY = [
    ("listed_names_are_tensors", altered(weight=[[1.0] * 4] * 4), "self.weight is a list, no tensor"),
    ("listed_names_are_tensors", altered(weight=torch.ones(4, 4).long()), "weight is of torch.int64 and cannot be tr"),
    ("listed_names_are_tensors", altered(parameter_names=("slope",)), "lists 'slope', and there is no self.slope"),
    ("listed_names_are_tensors", altered(parameter_names="weight"), r"the text 'weight', .*: write \('weight',\)"),
    ("listed_names_are_tensors", altered(buffer_names=("count",)), "buffer_names lists 'count', and there is no"),
    ("forward_returns_numbers", NoSaved(4, 4), r"forward must return \(output, saved\); it returned a Tensor"),
    ("forward_returns_numbers", NoNumber(4, 4), r"forward gives a NaN at \[0, 0\] of its output"),
    ("propagate_returns_d_inputs", NotATuple(4, 4), "propagate must return a tuple"),
    ("propagate_returns_d_inputs", OneTooMany(4, 4), "propagate returns 2 derivatives for 1 inputs"),
    ("propagate_returns_d_inputs", Flat(4, 4), "input 0 is 20 torch.float64, but it is 5 x 4 torch.float64"),
    ("gradients_returns_d_parameters", NoBias(4, 4), r"gradients returns \['weight'\], but the parameters"),
    ("gradients_returns_d_parameters", Row(4, 4), "the derivative of bias is 1 x 4 torch.float64, but it is 4"),
    ("settings_can_be_saved", ForgetsACount(4), "argument 'count' is not kept as self.count"),
    ("tensors_are_named", Scale(), "self.scale is a tensor that neither parameter_names"),
    ("tensors_are_named", UntrainedScale(), "self.scale is a tensor that neither parameter_names"),
    ("settings_can_be_saved", KeepsATensor(torch.ones(4).double()), "argument 'factor' is kept as a tensor"),
    ("forward_keeps_inputs", InPlaceForward(), "forward changes its input"),
    ("forward_repeats", Forgetful(), "forward gives another output when called again"),
    ("backward_keeps_d_output", InPlaceBackward(4, 4), "propagate changes the d_output"),
    ("backward_repeats", OverSaved(), "propagate gives another answer when called again"),
    ("backward_needs_saved_alone", Keeper(), "another forward call in between changes its answer"),
    ("backward_keeps_inputs", OverInput(), "the backward pass changes the block's input"),
    ("both_agrees", Halved(4, 4), "both gives other errors than propagate"),
    ("both_agrees", Unsummed(4, 4), "both gives other derivatives than gradients"),
    ("missing_errors_are_zeros", NeedsBoth(), "must take None in place of any part of d_output"),
    ("missing_errors_are_zeros", NoneIsOne(), "treats None for output 0 in another way than zeros"),
]


@pytest.mark.parametrize(("check", "block", "text"), FAULTY, ids=[type(block).__name__ for _, block, _ in FAULTY])
def test_a_fault_is_found_and_names_its_check(check: str, block: Block, text: str) -> None:
    report = check_block(block, torch.randn(5, 4))
    assert not report.passed
    assert report.comparisons == ()
    named = [fault for fault in report.faults if fault.endswith(f" ({check})")]
    with pytest.raises(GradientError, match=text):
        raise GradientError(*named)


def test_every_check_has_a_block_in_which_it_finds_a_fault() -> None:
    assert {check.__name__ for check in CHECKS} == {check for check, _, _ in FAULTY}
    assert all(check.__doc__ for check in CHECKS)


def test_a_block_without_a_fault_has_none() -> None:
    assert check_block(Square(), torch.randn(5, 4)).faults == ()
    assert check_block(Linear(4, 4), torch.randn(5, 4)).faults == ()


def test_a_fault_that_follows_from_another_is_not_told() -> None:
    (fault,) = check_block(InPlaceForward(), torch.randn(5, 4)).faults
    assert "forward changes its input" in fault
    (fault,) = check_block(InPlaceBackward(4, 4), torch.randn(5, 4)).faults
    assert "d_output" in fault


def test_without_elements_there_is_nothing_to_check() -> None:
    assert "nothing to check" in check_block(Linear(4, 4), torch.randn(0, 4)).faults[0]


def test_what_holds_no_real_numbers_cannot_be_checked() -> None:
    assert "no input holds real numbers" in check_block(Square(), torch.arange(4)).faults[0]


def test_what_is_no_block_and_what_is_no_tensor_is_refused_in_a_sentence() -> None:
    with pytest.raises(SettingError, match=r"came <class '.*Square'>; make one: Square\(…\)"):
        check_block(Square, torch.randn(3))  # type: ignore[arg-type]
    with pytest.raises(SettingError, match=r"input 1 is a ndarray; torch.as_tensor makes one"):
        check_block(Square(), torch.randn(3), torch.randn(3).numpy())  # type: ignore[arg-type]


def test_a_block_that_forgets_an_argument_is_shown_without_it_and_not_saved() -> None:
    assert repr(ForgetsACount(4)) == "ForgetsACount()"
    with pytest.raises(SettingError, match=r"does not keep its constructor's argument 'count' as self.count"):
        fingerprint(Sequential(ForgetsACount(4)))
