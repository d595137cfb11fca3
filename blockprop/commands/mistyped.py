"""What typer says of wrong usage, in one sentence with near names."""

import re
from collections.abc import Iterable, Mapping
from difflib import SequenceMatcher
from typing import Any

from typer.exceptions import TyperException

from blockprop.commands.settings_file import FILE, PLACE
from blockprop.errors import near

ALIKE = 0.7
"""How much alike a word is that is suggested, 0…1; below, it is another word with some of the same letters."""
FEW = 2
"""Other commands that are named at most."""
OPTIONS_ELSEWHERE = {
    "--model": "--network",
    "--net": "--network",
    "--bs": "--batch-size",
    "--epoch": "--epochs",
    "--num-epochs": "--epochs",
    "--n-epochs": "--epochs",
    "--learningrate": "--rate",
    "--gpu": "--device",
    "--cuda": "--device",
    "--cpu": "--device",
    "--output-file": "--out",
    "--save": "--out",
    "--dest": "--out",
    "--class": "--target",
    "--weight": "--style-weight",
    "--iterations": "--steps",
    "--iters": "--steps",
    "--num-steps": "--steps",
    "--opt": "--optimizer",
    "--scheduler": "--schedule",
    "--random-seed": "--seed",
    "--val-split": "--validation-fraction",
    "--test-split": "--test-fraction",
    "--test-size": "--test-fraction",
    "--early-stopping": "--patience",
    "--augmentation": "--augment",
    "--image-size": "--size",
    "--img-size": "--size",
    "--criterion": "--loss",
    "--topk": "--top",
    "--k": "--top",
    "--settings": "--config",
}
"""What other tools call an option: what it is called here."""
COMMANDS_ELSEWHERE = {
    "classify": "predict",
    "infer": "predict",
    "inference": "predict",
    "run": "predict",
    "fit": "train",
    "learn": "train",
    "finetune": "train",
    "fine-tune": "train",
    "attribute": "saliency",
    "gradcam": "saliency",
    "grad-cam": "saliency",
    "test": "evaluate",
    "eval": "evaluate",
    "score": "evaluate",
    "validate": "evaluate",
    "load": "import",
    "convert": "import",
    "summary": "info",
    "show": "info",
    "describe": "info",
    "style": "stylize",
    "deepdream": "dream",
    "visualize": "maximize",
    "plot": "diagram",
    "draw": "diagram",
    "gradcheck": "check",
}
"""What other tools call a command."""


def in_words(error: TyperException) -> str:
    """One sentence: what was wrong, what may have been meant, and where the help is."""
    context: Any = getattr(error, "ctx", None)
    if context is None:
        return error.format_message().rstrip(".")
    return f"{_sentence(error, context).rstrip('.')} (see {context.command_path} --help)"


def _sentence(error: TyperException, context: Any) -> str:
    option, param = getattr(error, "option_name", None), getattr(error, "param", None)
    if hasattr(error, "possibilities"):
        meant = _meant(str(option), _options(context), OPTIONS_ELSEWHERE) or _of_others(str(option), context)
        return f"there is no option {option}{meant}"
    text = error.format_message()
    if command := re.match(r"No such command '(.*?)'\.", text):
        names = context.command.commands
        if command[1] == "help":
            return f"help is asked for behind a command: {context.command_path} COMMAND --help"
        return f"there is no command {command[1]!r}{_meant(command[1], names, COMMANDS_ELSEWHERE)}"
    text = re.sub(r"(?<=Invalid value for ')(.*?)(' / '.*?)(?=': )", r"\1", text)  # --rate, without its other names
    text = re.sub(r"Invalid value for '(.*?)': Input should be (.*?)(, unable .*)?$", r"\1: expected \2", text)
    from_file = param is not None and param.name in (context.default_map or {})
    place = context.meta.get(f"{PLACE}{param.name}", context.meta[FILE]) if from_file and param is not None else ""
    return f"{place}: {text}" if place else text


def _options(context: Any) -> list[str]:
    return [spelling for param in context.command.get_params(context) for spelling in param.opts if spelling[0] == "-"]


def _of_others(option: str, context: Any) -> str:
    """Which other commands have the option, or what it is called there, if these are few."""
    spelled = OPTIONS_ELSEWHERE.get(option, option.replace("_", "-").lower())
    commands: dict[str, Any] = getattr(context.find_root().command, "commands", {})
    others = [name for name, command in commands.items() if any(spelled in param.opts for param in command.params)]
    if not 0 < len(others) <= FEW:
        return ""
    has = "has" if len(others) == 1 else "have"
    return f"; {' and '.join(others)} {has} {'it' if spelled == option else spelled}"


def _meant(name: str, names: Iterable[str], elsewhere: Mapping[str, str]) -> str:
    """What it is called here, or really near names alone: the help lists all of them better than a sentence."""
    names = list(names)
    known = elsewhere.get(name.replace("_", "-").lower())
    meant = [known] if known in names else [other for other in near(name, names) if _is_near(name, other)]
    return f"; did you mean {' or '.join(meant)}?" if meant else ""


def _is_near(name: str, other: str) -> bool:
    """Whether one begins with the other, or most of their letters are the same, dashes aside."""
    short, long = sorted((name.strip("-").replace("_", "-").lower(), other.strip("-")), key=len)
    return (len(short) > 2 and long.startswith(short)) or SequenceMatcher(None, short, long).ratio() >= ALIKE
