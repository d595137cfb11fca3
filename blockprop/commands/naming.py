"""The library's errors name arguments (`rate=0.1`), which on the command line are options (--rate 0.1)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

CALL = r"\b[A-Za-z_]\w*\((?:[^()]|\([^()]*\))*\)"
"""Code, such as a block's repr, which stays as it is."""
ARGUMENT = r"(?<![\w.\-])(?P<name>[a-z_]\w*)=(?P<value>…|\([^()]*\)|\{.*?\}|\[[^\]]*\]|'[^']*'|\"[^\"]*\"|[\w.\-+]*\w)?"
STATED = (
    r"(?:(?<=^)|(?<=expected )|(?<=, )|(?<=and ))(?P<stated>[a-z]\w*)"
    r"(?= must | needs | >= | above \d| in 0| of at least)"
    r"|(?<=the )(?P<noted>[a-z]\w*)(?= (?:of the optimizer )?in the file is)"
    r"|(?<=go with )(?P<with>[a-z]\w*)$|(?<![\w.'\"\-])(?P<compound>[a-z]+(?:_[a-z]+)+)(?![\w.=(\[])"
)
"""An argument as the subject of a sentence, or a word that is none but by its underscore."""
ENTRY = r"'([^']*)': (\([^()]*\)|[^,}]*)"
"""Of a mapping."""
ALSO = {
    "blocks": "own_blocks",
    "layers": "layer",
    "method": "methods",
    "target": "targets",
    "lr": "rate",
    "validation": "validation_fraction",
    "scheduler": "schedule",
    "node": "layer",
    "sizes": "shape",
}
"""Arguments of the library whose option has another name."""

MADE_OF = {
    "data": ("DATA", "--test-fraction", "--validation-fraction"),
    "objective": ("--loss", "--label-smoothing", "--class-weights"),
}
"""Arguments of the library that several options make up; said of them where no value is."""
NOTED = r"the (--[\w-]+) in the file is (\S+)(, here it is )([^\s;]+)"
"""Of a run that cannot go on as another one."""
WITH_COMMAS = ("shape", "constants", "transforms")
"""Options that may be repeated, and whose single values have commas in them."""
NO_VALUE = {"tile": "0"}
"""What an option takes where the library takes None."""


def in_options(message: str, params: Iterable[Any]) -> str:
    """The message with options for the arguments that this command has as options."""
    options = {str(param.name): param for param in params if param.param_type_name == "option"}
    spelled = {"DATA", *(text for param in options.values() for text in param.opts)}

    def option(match: re.Match[str]) -> str:
        name = match["name"] or match["stated"] or match["noted"] or match["with"] or match["compound"]
        if match["value"] == "…" and spelled.issuperset(MADE_OF.get(name, "?")):
            return ", ".join(MADE_OF[name])
        param = _option_of(name, options) if name else None
        return match[0] if param is None else _written(param, match["value"] or "")

    return re.sub(NOTED, _noted_as_typed, re.sub(f"{CALL}|{ARGUMENT}|{STATED}", option, message))


def with_each_by_itself(message: str, params: Iterable[Any], words: Mapping[str, Any]) -> str:
    """The message with how several values are given, if it is about one text with commas in between.

    params: of a command.   words: {parameter: value} that it was given.
    """
    for param in params:
        many = None if param.name in WITH_COMMAS else words.get(str(param.name))
        texts = [text for text in many if isinstance(text, str)] if isinstance(many, list) else []
        for text in texts:
            parts = [part.strip() for part in text.split(",") if part.strip()]
            if len(parts) > 1 and repr(text) in message:
                return f"{message}; several are given one by one: {_one_by_one(param, parts)}"
    return message


def _one_by_one(param: Any, values: Sequence[str]) -> str:
    """As a shell has them: --target lion --target "gray wolf"."""
    spelled = next((text + " " for text in param.opts if text.startswith("--")), "")
    return " ".join(f'{spelled}"{value}"' if " " in value else f"{spelled}{value}" for value in values)


def _noted_as_typed(match: re.Match[str]) -> str:
    """What a file notes of an option, and what it is now, as a person types them."""
    from blockprop.commands.optimizers import OPTIMIZER_NAMES, SCHEDULE_NAMES

    option, before, between, now = match.groups()
    typed = {"--optimizer": OPTIMIZER_NAMES, "--schedule": SCHEDULE_NAMES}.get(option, {})
    theirs, ours = (typed.get(value, {"None": "not given"}.get(value, value)) for value in (before, now))
    return f"the {option} in the file is {theirs}{between}{ours}"


def _option_of(name: str, options: Mapping[str, Any]) -> Any:
    return options.get(name) or options.get(ALSO.get(name, "")) or None


def _written(param: Any, value: str) -> str:
    """The option with the value as a shell has it: True is a flag alone, (2, 3) is 2,3, a mapping several options."""
    spelled = next(text for text in param.opts if text.startswith("--"))
    if param.is_flag and value in ("True", "False"):
        return spelled if value == "True" else next(iter(param.secondary_opts), f"no {spelled}")
    if value.startswith("{"):
        return " ".join(f"{spelled} {name}={_plain(part)}" for name, part in re.findall(ENTRY, value)) or spelled
    if value == "None" and param.name in NO_VALUE:
        return f"{spelled} {NO_VALUE[param.name]}"
    return f"{spelled} {_plain(value)}".rstrip()


def _plain(value: str) -> str:
    return value.strip("()[]\"'").replace(", ", ",")
