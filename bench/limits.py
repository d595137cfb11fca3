"""What the machine can do at most: multiplications and additions of float32, and bytes to and from memory.

Both as torch reaches them, by the best of several large products and by a copy; prints them as JSON.
"""

import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

COPIED = 2**25
"""Numbers: far more than any cache holds."""


def best(run: Callable[[], object], turns: int = 8) -> float:
    """Seconds of the fastest of several runs, after a first one."""
    run()
    seconds = []
    for _ in range(turns):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


@torch.no_grad()
def limits() -> dict[str, float]:
    """{operations, bytes}: a second; a multiply-add is two operations."""
    last, side, channels = torch.channels_last, 64, 256
    x = torch.rand(1, channels, side, side).contiguous(memory_format=last)
    small, large = (torch.rand(channels, channels, k, k).contiguous(memory_format=last) for k in (1, 3))
    a = torch.rand(2048, 2048)
    products: list[tuple[int, Callable[[], object]]] = [
        (side**2 * channels**2, lambda: F.conv2d(x, small)),
        (side**2 * channels**2 * 9, lambda: F.conv2d(x, large, padding=1)),
        (2048**3, lambda: a @ a),
    ]
    source = torch.rand(COPIED)
    goal = torch.empty_like(source)
    return {
        "operations": max(2 * count / best(run) for count, run in products),
        "bytes": 2 * source.nbytes / best(lambda: goal.copy_(source)),
    }


if __name__ == "__main__":
    print(json.dumps(limits()))
