"""The command line. Results go to standard output, progress to standard error; `--json` prints one JSON object,
`--quiet` says nothing besides results and errors, `--verbose` what was decided, too.

Exit codes: 0 done, 1 something went wrong (one sentence says what), 2 wrong usage, 3 a gradient is wrong, 130 Ctrl-C,
143 SIGTERM and 129 SIGHUP (a closed terminal), which save what Ctrl-C saves.
"""

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Annotated

import typer
from typer.exceptions import TyperException

from blockprop.commands import (
    check,
    demo,
    descend,
    diagram,
    evaluate,
    explain,
    export,
    import_,
    info,
    loading,
    predict,
    replay,
    step,
    train,
)
from blockprop.commands.console import (
    INTERRUPTED,
    Loudness,
    is_verbose,
    print_json,
    printable,
    saying_warnings,
    set_loudness,
)
from blockprop.commands.habits import Quiet, Verbose, with_habits
from blockprop.commands.mistyped import in_words
from blockprop.commands.picture_commands import PICTURE_COMMANDS, as_function
from blockprop.commands.rank import is_first, rank
from blockprop.commands.repeated import AllCommands, EachOnce
from blockprop.commands.streams import FULL, is_writable, lose_what_cannot_be_said, take_all_characters
from blockprop.errors import BlockpropError
from blockprop.saving.interruption import SIGNALED, Termination, ignore_signals, no_interrupt_lost
from blockprop.version import __version__

NO_MEMORY = "not enough memory; try something smaller: --batch-size, --size or --tile, as far as the command has them"
WRONG_USAGE = 2
ALLOCATION = "can't allocate memory"
"""What torch says then."""

app = typer.Typer(
    name="blockprop",
    cls=AllCommands,
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "train": (train.train, train.EPILOG),
    "import": (import_.import_, import_.EPILOG),
    "export": (export.export, export.EPILOG),
    "evaluate": (evaluate.evaluate, evaluate.EPILOG),
    "predict": (predict.predict, predict.EPILOG),
    "info": (info.info, info.EPILOG),
    **{name: (as_function(kind), kind.epilog) for name, kind in PICTURE_COMMANDS.items()},
    "replay": (replay.replay, replay.EPILOG),
    "check": (check.check, check.EPILOG),
    "diagram": (diagram.diagram, diagram.EPILOG),
    "explain": (explain.explain, explain.EPILOG),
    "step": (step.step, step.EPILOG),
    "descend": (descend.descend, descend.EPILOG),
    "demo": (demo.demo, demo.EPILOG),
}
"""By name: (the function, what its help ends with), in the order of the help."""
for name, (function, epilog) in COMMANDS.items():
    app.command(name, cls=EachOnce, epilog=epilog)(with_habits(function))


def _print_version(wanted: bool) -> None:
    if wanted:
        from blockprop.native.library import status

        print(f"blockprop {__version__}\nnative kernels: {status()}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            "-V",
            metavar="",
            callback=_print_version,
            is_eager=True,
            help="Print the version, and which native kernels there are.",
        ),
    ] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Back-propagation that people can read, check, change, and run all the way to the input."""
    if context.invoked_subcommand is None:
        print(context.get_help(), end="")
        raise typer.Exit(WRONG_USAGE)


def main(arguments: list[str] | None = None) -> int:
    """Run one command; print any error as one sentence and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    set_loudness(Loudness.NORMAL)
    take_all_characters()
    with Termination.watched() as termination, no_interrupt_lost():
        loading.begin()
        code = _run(arguments)
        by = termination.by
        if code == INTERRUPTED:
            return _failed("interrupted" if by is None else "terminated", by + SIGNALED if by else code, arguments)
        return by + SIGNALED if by and code else code  # what it still had to say, the terminal may not have taken


def _run(arguments: list[str]) -> int:
    """Run one command; print any error but Ctrl-C and return the exit code."""
    try:
        with saying_warnings():
            code = app(arguments, prog_name="blockprop", standalone_mode=False) or 0
        sys.stdout.flush()  # here what cannot be written can still be said
        return code
    except TyperException as error:
        return _failed(in_words(error), error.exit_code, arguments)
    except BlockpropError as error:
        if is_verbose():
            traceback.print_exc()
        if not error.is_told_here:
            return 1
        return _failed(str(error), 1, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:  # whoever read it has seen enough
        is_writable(sys.stdout)
        is_writable(sys.stderr)
        return 1
    except MemoryError:
        return _failed(NO_MEMORY, 1, arguments)
    except Exception as error:
        if _is_of_ctrl_c(error):
            return INTERRUPTED
        if os.environ.get("BLOCKPROP_TRACEBACK"):
            raise
        if is_verbose():
            traceback.print_exc()
        first = (str(error).splitlines() or [""])[0]
        if isinstance(error, OSError) and (place := _place_of(error)):
            return _failed(f"{place}: {error.strerror}", 1, arguments)
        if isinstance(error, RuntimeError) and ALLOCATION in first:
            return _failed(NO_MEMORY, 1, arguments)
        hint = "" if is_verbose() else " (--verbose shows where)"
        return _failed(f"this should not have happened: {type(error).__name__}: {first}{hint}", 1, arguments)


def _is_of_ctrl_c(error: BaseException | None) -> bool:
    """Whether it is what a library written in C has made of one: an ImportError, for instance."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _failed(sentence: str, code: int, arguments: list[str]) -> int:
    who = "blockprop" if is_first() else f"blockprop, rank {rank()}"
    with suppress(OSError):  # a full disk behind both
        if is_first() or code < SIGNALED:  # one of several processes says that they were stopped
            print(f"{who}: {printable(sentence)}", file=sys.stderr)
    with suppress(OSError):
        if "--json" in arguments and is_first():
            print_json({"error": sentence})
    is_writable(sys.stdout)
    is_writable(sys.stderr)
    return code


def _place_of(error: OSError) -> str | None:
    """What the operating system would not read or write, if that is known."""
    if error.filename is not None:
        return os.fsdecode(error.filename)
    return "standard output" if error.errno in FULL else None  # results go through `replaced`, which names them


def run() -> None:
    """The entry point of the `blockprop` script."""
    loading.set_alone()
    lose_what_cannot_be_said()
    sys.exit(alone(sys.argv[1:]))


def alone(arguments: list[str]) -> int:
    """Run one command in a process that leaves then, and that no signal disturbs on the way out."""
    try:
        code = main(arguments)
    except KeyboardInterrupt:  # in the last lines of it
        code = INTERRUPTED
    ignore_signals()
    return code
