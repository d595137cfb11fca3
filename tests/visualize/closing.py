"""A run that is looked at and not made."""

from typing import TypeVar

from blockprop.visualize.running import PictureRun

AnyRun = TypeVar("AnyRun", bound=PictureRun)


def closed(run: AnyRun) -> AnyRun:
    """The run, which no longer minds being dropped before its first step."""
    run.close()
    return run
