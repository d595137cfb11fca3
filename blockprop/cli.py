"""The command line. Results go to standard output, progress to standard error; `--json` prints one JSON object.

Exit codes: 0 done, 1 something went wrong (one sentence says what), 2 wrong usage, 3 a gradient is wrong, 130 Ctrl-C.
"""

import json
import os
import sys
from typing import Annotated

import typer
from typer.exceptions import TyperException

from blockprop.commands import (
    check,
    demo,
    diagram,
    dream,
    evaluate,
    export,
    import_,
    inspect,
    maximize,
    replay,
    saliency,
    sanity,
    segment,
    sheet,
    stylize,
    train,
)
from blockprop.commands.console import printable
from blockprop.errors import BlockpropError
from blockprop.version import __version__

NO_MEMORY = "not enough memory; try something smaller: --batch-size, --size or --tile, as far as the command has them"
ALLOCATION = "can't allocate memory"
"""What torch says then."""
INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells have it; typer returns it where it has caught the interruption itself."""

app = typer.Typer(
    name="blockprop",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command(epilog=train.EPILOG)(train.train)
app.command("import", epilog=import_.EPILOG)(import_.import_)
app.command(epilog=export.EPILOG)(export.export)
app.command(epilog=evaluate.EVALUATE_EPILOG)(evaluate.evaluate)
app.command(epilog=evaluate.PREDICT_EPILOG)(evaluate.predict)
app.command(epilog=inspect.INFO_EPILOG)(inspect.info)
app.command("saliency", epilog=saliency.EPILOG)(saliency.saliency_)
app.command("segment", epilog=segment.EPILOG)(segment.segment_)
app.command("sanity", epilog=sanity.EPILOG)(sanity.sanity_)
app.command("maximize", epilog=maximize.EPILOG)(maximize.maximize_)
app.command("sheet", epilog=sheet.EPILOG)(sheet.sheet_)
app.command("dream", epilog=dream.EPILOG)(dream.dream_)
app.command("stylize", epilog=stylize.EPILOG)(stylize.stylize_)
app.command(epilog=replay.EPILOG)(replay.replay)
app.command(epilog=check.CHECK_EPILOG)(check.check)
app.command(epilog=diagram.DIAGRAM_EPILOG)(diagram.diagram)
app.command(epilog=demo.DEMO_EPILOG)(demo.demo)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"blockprop {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Back-propagation that people can read, check, change, and run all the way to the input."""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; print any error as one sentence and return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = app(arguments, prog_name="blockprop", standalone_mode=False) or 0
        return _failed("interrupted", INTERRUPTED, arguments) if code == INTERRUPTED else code
    except TyperException as error:
        context = getattr(error, "ctx", None)
        place = f" (see {context.command_path} --help)" if context else ""
        return _failed(f"{error.format_message().rstrip('.')}{place}", error.exit_code, arguments)
    except BlockpropError as error:
        return _failed(str(error), 1, arguments)
    except (KeyboardInterrupt, typer.Abort):
        return _failed("interrupted", INTERRUPTED, arguments)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MemoryError:
        return _failed(NO_MEMORY, 1, arguments)
    except Exception as error:
        if os.environ.get("BLOCKPROP_TRACEBACK"):
            raise
        first = (str(error).splitlines() or [""])[0]
        if isinstance(error, RuntimeError) and ALLOCATION in first:
            return _failed(NO_MEMORY, 1, arguments)
        hint = "BLOCKPROP_TRACEBACK=1 shows where"
        return _failed(f"this should not have happened: {type(error).__name__}: {first} ({hint})", 1, arguments)


def _failed(sentence: str, code: int, arguments: list[str]) -> int:
    print(f"blockprop: {printable(sentence)}", file=sys.stderr)
    if "--json" in arguments:
        print(json.dumps({"error": sentence}, ensure_ascii=False))
    return code


def run() -> None:
    """The entry point of the `blockprop` script."""
    sys.exit(main())
