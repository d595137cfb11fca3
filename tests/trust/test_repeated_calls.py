"""Calls leave nothing behind, and several threads may call at once."""

import builtins
import contextvars

import pytest

from blockprop import from_torch
from blockprop.importers.torch.outside import StateOutside
from tests.trust.repeated_calls import ACTIONS, Scene, Small, growth, scene
from tests.trust.threads import TOGETHER, differences

SLOW = ("from_torch", "saliency, smooth_grad", "saliency, smooth_grad_squared", "saliency, integrated_gradients")


@pytest.fixture(name="given", scope="module")
def _given(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return scene(tmp_path_factory.mktemp("calls"))


@pytest.mark.parametrize("name", [name for name in ACTIONS if name not in SLOW])
def test_calls_leave_no_objects_behind(given: Scene, name: str) -> None:
    assert growth(ACTIONS[name][0], given, calls=1).objects < 1


def test_an_import_leaves_none_of_torchs_context_variables_behind(given: Scene) -> None:
    before = len(contextvars.copy_context())
    from_torch(given.module, given.picture)
    assert len(contextvars.copy_context()) == before


def test_threads_get_what_one_alone_gets(given: Scene) -> None:
    assert [*differences(given, TOGETHER, threads=3, calls=30)] == []


def test_several_threads_import_at_once(given: Scene) -> None:
    assert [*differences(given, ("from_torch",), threads=3, calls=6)] == []


def test_others_compute_while_one_thread_imports(given: Scene) -> None:
    """Up to rounding: torch.export turns oneDNN off meanwhile, for the whole process."""
    assert [*differences(given, ("from_torch", "forward and backward"), 2, calls=10, tolerance=1e-5)] == []


def test_pythons_own_functions_are_not_among_what_an_import_puts_back() -> None:
    """The file that a module stands in holds them, and they are not its own: all other threads need them meanwhile."""
    outside = StateOutside(Small())
    assert id(vars(builtins)) not in outside._containers
    assert id(ACTIONS) in outside._containers
