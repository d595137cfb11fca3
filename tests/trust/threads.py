"""The same calls from several threads of Python at once: is each result what one thread alone gets, bit by bit?

While torch.export runs in one thread, it turns oneDNN off for the whole process, and what other threads compute is
rounded otherwise; there a tolerance has to do.
"""

import random
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from torch import Tensor

from tests.trust.layouts import off_by
from tests.trust.repeated_calls import ACTIONS, Scene

TOGETHER = (
    "forward and backward",
    "predict",
    "a step of training",
    "to_torch",
    "from_onnx",
    "steps of maximize",
    *(name for name in ACTIONS if name.startswith("saliency")),
)
"""What several threads may do with one network at once, and what gives tensors."""


def differences(
    given: Scene, names: Sequence[str], threads: int, calls: int, seed: int = 0, tolerance: float = 0.0
) -> Iterator[str]:
    """What came out otherwise among so many calls in so many threads, of which each draws its own from the names.

    tolerance: of the largest number of a tensor
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = {name: _numbers(ACTIONS[name][0](given)) for name in dict.fromkeys(names)}
        start = Barrier(threads)

        def work(number: int) -> list[str]:
            chance, found = random.Random(f"{seed}/{number}"), []
            start.wait()
            for call in range(calls // threads):
                name = chance.choice(names)
                try:
                    results = _numbers(ACTIONS[name][0](given))
                except Exception as error:
                    found.append(
                        f"{name}, call {call} of thread {number} (seed {seed}): {type(error).__name__}: {error}"
                    )
                    continue
                wrong = [key for key, y in expected[name].items() if not off_by(results[key], y) <= tolerance]
                if wrong:
                    found.append(f"{name}, call {call} of thread {number} (seed {seed}): other numbers in {wrong[:3]}")
            return found

        with ThreadPoolExecutor(threads) as pool:
            for found in pool.map(work, range(threads)):
                yield from found


def _numbers(results: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: y.clone() for name, y in results.items()}
