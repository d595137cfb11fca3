"""What a battery of trust.py found."""

from typing import NamedTuple


class Outcome(NamedTuple):
    """What came of so many cases of one kind."""

    what: str
    """What was tried: "damaged ONNX files", say."""
    cases: int
    faults: int
    worst: str
    """The worst that was seen, with its unit: "4.1 s, 0.9 GB", "2e-13 of the gradient", "nothing"."""
