"""The common checks of every block: one test a promise, each run over all rows of tests/cases/."""

import importlib
import json
import pkgutil

import pytest
import torch

from blockprop import blocks
from blockprop.engine.block import Block
from blockprop.engine.check import check_block
from blockprop.errors import ShapeError
from tests.blocks.running import back, by_autograd, close, made, run, seeds_for
from tests.cases import BY_FILE, CASES, Case

each_case = pytest.mark.parametrize("case", CASES, ids=str)


@each_case
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_both_passes_equal_autograd(case: Case, dtype: torch.dtype) -> None:
    block, inputs = made(case, dtype), case.tensors(dtype)
    outputs, saved = run(block, case, *inputs)
    theirs, seeds, _, their_d_inputs, their_gradients = by_autograd(block, case, inputs)
    d_inputs, gradients = back(block, saved, seeds)
    assert len(outputs) == len(theirs)
    assert len(d_inputs) == len(inputs)
    assert gradients.keys() == their_gradients.keys()
    for mine, other in zip(outputs, theirs, strict=True):
        close(mine, other.detach(), dtype)
    for mine, other, x in zip(d_inputs, their_d_inputs, inputs, strict=True):
        if x.is_floating_point():
            close(torch.zeros_like(x) if mine is None else mine, torch.zeros_like(x) if other is None else other, dtype)
    for name, mine in gradients.items():
        close(mine, their_gradients[name], dtype)


@each_case
def test_both_backward_methods_equal_finite_differences(case: Case) -> None:
    if not case.differentiable:
        pytest.skip("nothing goes back through this block")
    check_block(made(case), *case.tensors(), training=case.training).verify()


@pytest.mark.parametrize("case", [case for case in CASES if type(case.make()).both is not Block.both], ids=str)
def test_both_at_once_equals_one_after_the_other(case: Case) -> None:
    block, inputs = made(case), case.tensors()
    outputs, saved = run(block, case, *inputs)
    seeds = seeds_for(outputs)
    d_inputs, gradients = back(block, saved, seeds)
    both_d_inputs, both_gradients = block.both(saved, seeds if block.output_count > 1 else seeds[0])
    assert both_gradients.keys() == gradients.keys()
    for mine, theirs in zip(both_d_inputs, d_inputs, strict=True):
        close(mine, theirs)
    for name, mine in both_gradients.items():
        close(mine, gradients[name])


@each_case
def test_a_batch_of_one_is_a_row_of_the_batch(case: Case) -> None:
    if case.batch is None or case.training:
        pytest.skip("the rows of this block's batch are not independent")
    block, inputs = made(case), case.tensors()
    outputs, _ = run(block, case, *inputs)
    firsts, _ = run(block, case, *(x.narrow(case.batch, 0, 1) for x in inputs))
    for whole, first in zip(outputs, firsts, strict=True):
        close(first, whole.narrow(case.batch, 0, 1))


@each_case
def test_an_empty_batch_gives_empty_outputs_and_zero_gradients(case: Case) -> None:
    if case.batch is None or case.training:
        pytest.skip("this block has no batch axis, or needs the batch's statistics")
    block, inputs = made(case), case.tensors()
    empty = tuple(x.narrow(case.batch, 0, 0) for x in inputs)
    full_outputs, _ = run(block, case, *inputs)
    outputs, saved = run(block, case, *empty)
    for mine, full in zip(outputs, full_outputs, strict=True):
        assert mine.shape == full.narrow(case.batch, 0, 0).shape
    d_inputs, gradients = back(block, saved, seeds_for(outputs))
    for x, d in zip(empty, d_inputs, strict=True):
        assert d is None or d.shape == x.shape
    for name, d in gradients.items():
        close(d, torch.zeros_like(block.parameters[name]))


@each_case
def test_a_wrong_shape_is_refused(case: Case) -> None:
    if case.wrong is None:
        pytest.skip("any shape will do")
    with pytest.raises(ShapeError):
        run(made(case), case, *(torch.zeros(shape, dtype=torch.float64) for shape in case.wrong))


@each_case
def test_settings_make_an_equal_block(case: Case) -> None:
    block = made(case)
    settings = json.loads(json.dumps(block.settings))
    twin = type(block)(**settings)
    assert repr(twin) == repr(block)
    assert {n: t.shape for n, t in twin.parameters.items()} == {n: t.shape for n, t in block.parameters.items()}
    assert {n: t.shape for n, t in twin.buffers.items()} == {n: t.shape for n, t in block.buffers.items()}
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(twin, name, tensor)
    if not (case.training and hasattr(block, "generator")):
        for mine, theirs in zip(run(block, case, *case.tensors())[0], run(twin, case, *case.tensors())[0], strict=True):
            assert torch.equal(mine, theirs)


@each_case
def test_half_a_graph_can_run_under_autograd_or_inference_mode(case: Case) -> None:
    """What forward saves must not depend on the caller's gradient mode."""
    block, inputs = made(case), case.tensors()
    outputs, saved = run(block, case, *inputs)
    expected = back(block, saved, seeds_for(outputs))
    with torch.inference_mode():
        outputs, saved = run(block, case, *inputs)
        found = back(block, saved, seeds_for(outputs))
        for mine, theirs in zip([*found[0], *found[1].values()], [*expected[0], *expected[1].values()], strict=True):
            assert mine is theirs is None or torch.equal(mine, theirs)


@pytest.mark.cuda
@each_case
def test_cuda_equals_cpu(case: Case) -> None:
    block, inputs = made(case), case.tensors()
    outputs, saved = run(block, case, *inputs)
    d_outputs = seeds_for(outputs)
    expected = back(block, saved, d_outputs)
    if case.training and hasattr(block, "generator"):
        pytest.skip("another device draws other random numbers")
    for name, tensor in (block.parameters | block.buffers).items():
        setattr(block, name, tensor.cuda())
    outputs_there, saved = run(block, case, *(x.cuda() for x in inputs))
    found = back(block, saved, tuple(None if d is None else d.cuda() for d in d_outputs))
    for mine, theirs in zip(
        [*outputs_there, *found[0], *found[1].values()], [*outputs, *expected[0], *expected[1].values()], strict=True
    ):
        if theirs is not None:
            torch.testing.assert_close(mine.cpu(), theirs, rtol=1e-9, atol=1e-9)


def test_every_block_has_a_row() -> None:
    missing = blocks.BLOCKS.keys() - {type(case.make()).__name__ for case in CASES}
    files = [f"{name} in tests/cases/{blocks.BLOCKS[name].__module__.rpartition('.')[2]}.py" for name in missing]
    assert not missing, f"no row of {', '.join(files)}"


def test_rows_stand_in_files_of_their_blocks_names() -> None:
    places = {(name, type(case.make()).__module__) for name, cases in BY_FILE.items() for case in cases}
    assert {(name, module) for name, module in places if module != f"blockprop.blocks.{name}"} == set()


def test_every_block_has_its_line() -> None:
    """Each public class of the files in blocks/, but for those that others derive from."""
    files = [importlib.import_module(f"blockprop.blocks.{file.name}") for file in pkgutil.iter_modules(blocks.__path__)]
    kinds = [
        kind for file in files for kind in vars(file).values() if isinstance(kind, type) and issubclass(kind, Block)
    ]
    there = {kind.__name__: kind for kind in kinds if kind.__module__.startswith("blockprop.blocks.")}
    bases = {base for kind in kinds for base in kind.__bases__}
    missing = {name for name, kind in there.items() if name[0] != "_" and kind not in bases} ^ blocks.BLOCKS.keys()
    assert not missing, f"no line in blockprop/blocks/__init__.py, or no class: {', '.join(missing)}"
    assert all(getattr(blocks, name) is there[name] for name in blocks.BLOCKS)
    assert blocks.__all__ == ["BLOCKS", *sorted(blocks.BLOCKS)]


def test_every_block_says_of_what_kind_it_is() -> None:
    silent = [name for name, block in blocks.BLOCKS.items() if not any("kind" in vars(c) for c in block.__mro__[:-2])]
    assert not silent, f"say `kind = …`, and what else of Block is true, in {', '.join(silent)} or in their base"


def test_every_activation_says_in_its_own_class_whether_it_gates() -> None:
    elementwise = ("pointwise", "functions", "sigmoids", "thresholds", "elementary")
    subjects = {block: block.__module__.rpartition(".")[2] for block in blocks.BLOCKS.values()}
    activations = [b for b, subject in subjects.items() if b.kind == "activation" or subject in elementwise]
    assert len(activations) > 20
    silent = [block.__name__ for block in activations if not isinstance(vars(block).get("gate"), str)]
    assert not silent, f'say in {", ".join(silent)} `gate = …`: why it rectifies or gates, or "" if it does not'


@pytest.mark.parametrize("name", sorted(blocks.BLOCKS))
def test_every_block_documents_its_derivative(name: str) -> None:
    text = blocks.BLOCKS[name].__doc__ or ""
    assert "d_x" in text or "d_a" in text or "d_weight" in text, f"{name} does not say what its backward pass computes"
