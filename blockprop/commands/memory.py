"""What a job with a budget of memory takes: said before it, and after it beside what it was."""

from typing import Any

from blockprop.commands.console import say
from blockprop.engine.room import in_bytes
from blockprop.preparing.resident import Expected, ResidentPeak


class MemoryWatch:
    """Says what is expected, from then on measures what is taken, and says both in the end. Without a budget, nothing.

    device: where the job computes.
    """

    def __init__(self, quiet: bool = False, device: str = "cpu"):
        self.quiet, self.device = quiet, device
        self.expected = 0
        self._peak: ResidentPeak | None = None

    def expect(self, expected: Expected | None) -> None:
        """Before a step or a gradient; what is expected is said once, and again where it is more."""
        if expected is None or expected.bytes <= self.expected:
            return
        self.expected = expected.bytes
        say(f"memory: {expected}", self.quiet)
        self._peak = self._peak or ResidentPeak(self.device)

    def facts(self) -> dict[str, Any]:
        """{"memory": bytes that were expected, and those that were taken at most}; both are said, too."""
        if self._peak is None:
            return {}
        taken = self._peak.taken()
        came = "this system does not tell what was taken" if taken is None else f"{in_bytes(taken)} were taken at most"
        say(f"memory: {in_bytes(self.expected)} were expected, {came}", self.quiet)
        return {"memory": {"expected": self.expected, "taken": taken}}
