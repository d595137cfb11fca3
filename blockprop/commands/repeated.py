"""How a command reads its words: an option of one value is given once, so that nothing is passed over in silence; and
what all commands call -t, --target is an argument where there is nothing else to say."""

from collections import Counter
from typing import Any

from typer.core import TyperCommand, TyperGroup

TARGET = ("-t", "--target")
ARGUMENT = "targets"
"""The argument that these stand for, of a command that has no such option."""


class EachOnce(TyperCommand):
    """A command that refuses what is given twice and counts once; flags may be repeated, they say the same."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if any(param.param_type_name == "argument" and param.name == ARGUMENT for param in self.get_params(ctx)):
            args = _as_arguments(ctx, args)
        _, _, order = self.make_parser(ctx).parse_args(args=list(args))
        times = Counter(param.name for param in order)
        for param in self.get_params(ctx):
            option: Any = param
            takes_one = param.param_type_name == "option" and not (option.multiple or option.is_flag or option.count)
            if takes_one and times[param.name] > 1:
                ctx.fail(f"{max(param.opts, key=len)} takes one value, and is given {times[param.name]} times")
        parsed: list[str] = super().parse_args(ctx, args)
        return parsed


class AllCommands(TyperGroup):
    """The command line itself. Its flags are false unless they are given: for those of typer that are nothing then,
    typer loads pydantic, which takes longer than much of the rest.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        for param in self.get_params(ctx):
            if getattr(param, "is_flag", False) and param.default is None:
                param.default = False
        rest: list[str] = super().parse_args(ctx, args)
        return rest


def _as_arguments(ctx: Any, args: list[str]) -> list[str]:
    """The words with `cat` in place of `-t cat`, `-tcat`, `--target cat` and `--target=cat`."""
    words, rest = list[str](), iter(args)
    for word in rest:
        if word == "--":
            return [*words, word, *rest]
        name, equals, value = word.partition("=")
        if word in TARGET:
            told = next(rest, None)
            words.append(ctx.fail(f"{word} needs a target behind it") if told is None else told)
        elif name == TARGET[1] and equals:
            words.append(value)
        elif word.startswith(TARGET[0]):
            words.append(word.removeprefix(TARGET[0]))
        else:
            words.append(word)
    return words
