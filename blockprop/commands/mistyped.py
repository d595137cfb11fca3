"""What typer says of wrong usage, in one sentence with near names."""

import re
from collections.abc import Iterable
from typing import Any

from typer.exceptions import TyperException

from blockprop.commands.settings_file import FILE
from blockprop.errors import near


def in_words(error: TyperException) -> str:
    """One sentence: what was wrong, what may have been meant, and where the help is."""
    context: Any = getattr(error, "ctx", None)
    if context is None:
        return error.format_message().rstrip(".")
    return f"{_sentence(error, context).rstrip('.')} (see {context.command_path} --help)"


def _sentence(error: TyperException, context: Any) -> str:
    option, param = getattr(error, "option_name", None), getattr(error, "param", None)
    if hasattr(error, "possibilities"):
        return f"there is no option {option}{_near(str(option), _options(context))}"
    text = error.format_message()
    if command := re.match(r"No such command '(.*?)'\.", text):
        return f"there is no command {command[1]!r}{_near(command[1], context.command.commands)}"
    text = re.sub(r"Invalid value for '(.*?)': Input should be (.*?)(, unable .*)?$", r"\1: expected \2", text)
    from_file = param is not None and param.name in (context.default_map or {})
    return f"{context.meta[FILE]}: {text}" if from_file else text


def _options(context: Any) -> list[str]:
    return [spelling for param in context.command.get_params(context) for spelling in param.opts if spelling[0] == "-"]


def _near(name: str, names: Iterable[str]) -> str:
    """Near names alone: the help lists all of them better than a sentence."""
    meant = near(name, names)
    return f"; did you mean {' or '.join(meant)}?" if meant else ""
