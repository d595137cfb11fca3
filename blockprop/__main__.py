"""`python -m blockprop` and the script `blockprop` are the command line."""

from blockprop.commands.loading import say_ended
from blockprop.saving.interruption import ended_at_once


def run() -> None:
    """The entry point; also while the command line itself is loaded, Ctrl-C is what it is at any other time."""
    with ended_at_once(say_ended):
        from blockprop.cli import run as run_command_line
    run_command_line()


if __name__ == "__main__":
    run()
