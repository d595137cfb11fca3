"""Pictures of a data set that cannot be read: all are named at once, and left out only where that is asked for."""

from dataclasses import dataclass, field
from pathlib import Path

from blockprop.errors import DataError

LINES = 10
"""Pictures that an error names."""
NAMED = 3
"""Pictures that a note names."""


@dataclass
class Unreadable:
    """What could not be read of so many pictures of a folder, each with its file and the reason."""

    folder: Path
    reasons: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def _head(self) -> str:
        return f"{self.folder}: {len(self.reasons)} of {self.count} pictures cannot be read"

    def error(self) -> DataError:
        """All of them, one a line, and what to do; of a single picture that was asked for, the reason alone."""
        if self.count == 1:
            return DataError(*self.reasons)
        lines = [f"{self._head}; mend or remove them, or leave them out with skip_unreadable=True:"]
        lines += self.reasons[:LINES]
        return DataError("\n".join(lines + ([f"… and {rest} more"] if (rest := len(self.reasons) - LINES) > 0 else [])))

    def note(self) -> list[str]:
        """A sentence that says they are left out; none if there are none."""
        if not self.reasons:
            return []
        some = "; ".join(self.reasons[:NAMED]) + (
            f"; and {rest} more" if (rest := len(self.reasons) - NAMED) > 0 else ""
        )
        return [f"{self._head}, and are left out: {some}"]
