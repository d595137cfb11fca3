"""How many bytes of tensors a call has alive at its worst moment."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from blockprop.preparing.native.kernels import release


def tensor_peak(step: Callable[[], object]) -> int:
    """Bytes of torch's tensors alive at the worst moment of a call, of those made in it."""
    release()  # what earlier calls have left for the next one would not be seen
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profiler.export_chrome_trace(str(path))
        events = [event for event in json.loads(path.read_text())["traceEvents"] if event.get("name") == "[memory]"]
    alive: dict[int, int] = {}
    held = peak = 0
    for event in sorted(events, key=lambda event: event["ts"]):
        address, size = event["args"]["Addr"], event["args"]["Bytes"]
        if size > 0:
            alive[address] = size
        held += size if size > 0 else -alive.pop(address, 0)
        peak = max(peak, held)
    return peak
