"""Which one this is of the processes that torchrun has started for a command: all compute, and the first one speaks."""

import os


def rank() -> int:
    """Its number, from 0 on; 0 for a process by itself. `training.ranks`, which loads torch, knows more."""
    return int(os.environ["RANK"]) if "RANK" in os.environ and "WORLD_SIZE" in os.environ else 0


def is_first() -> bool:
    """Whether this process prints, and writes files."""
    return rank() == 0


def own_device(name: str) -> str:
    """The device that is this process's: of several GPUs that called by its number on this machine."""
    return f"{name}:{os.environ.get('LOCAL_RANK', 0)}" if name == "cuda" and "WORLD_SIZE" in os.environ else name
