"""Settings files: TOML whose keys are a command's long options and arguments, read by --config, written by `replay`.

    command = "maximize"
    target = ["goose"]
    steps = 64

What the command line itself says wins over the file.
"""

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import typer
from typer.models import ArgumentInfo, ParameterInfo

from blockprop.commands.console import explain, printable, say
from blockprop.errors import FormatError, suggestion

FILE = "blockprop settings file"
"""Under this key the context of a command keeps its path."""
PLACE = "blockprop place of "
"""Under this, before the name of a parameter, the file and line that it comes from."""
COMMAND = "command"
"""The key that says of which command the settings are."""
WITHOUT = ("config", "help")
"""Options that no file can set."""


def read_into(context: typer.Context, path: Path | None) -> Path | None:
    """Take the file's settings for what the command line leaves open. FormatError naming the key that is wrong."""
    if path is None or context.resilient_parsing:
        return path
    text = _text(path)
    document = _document(path, text)
    command = document.pop(COMMAND, context.info_name)
    if command != context.info_name:
        raise FormatError(f"{path} holds settings of {command!r}, this is {context.info_name!r}")
    settings: dict[str, Any] = {}
    by_key = {key: param for param in context.command.params for key in _keys(param)}
    for key, value in document.items():
        param = by_key.get(key.replace("_", "-"))
        if param is None:
            raise FormatError(
                f"{_place(path, text, key)}: {context.info_name} has no setting {key!r}{suggestion(key, by_key)}"
            )
        if param.name in settings:
            raise FormatError(f"{_place(path, text, key)}: {key!r} is set twice, under two of its names")
        settings[param.name] = _as_typed(path, _place(path, text, key), key, value, param)
        context.meta[PLACE + param.name] = _place(path, text, key)
        param.envvar = None  # the file is nearer than the environment
    context.default_map = settings
    context.meta[FILE] = path
    if not document:
        say(f"{path} holds no settings")
    explain(f"settings from {path}: {', '.join(document) or 'none'}")
    return path


def say_overruled(context: typer.Context) -> None:
    """Say which of the file's settings give way to the command line."""
    for param in context.command.params:
        name, source = str(param.name), context.get_parameter_source(str(param.name))
        if name in (context.default_map or {}) and source is not None and source.name == "COMMANDLINE":
            say(f"{_shown(param)} of the command line takes the place of the one in {context.meta[FILE]}")


def as_toml(settings: Mapping[str, Any], comments: Iterable[str] = ()) -> str:
    """The settings as a file's text, without those that are None; values are text, numbers, booleans and lists."""
    lines = [f"# {printable(' '.join(comment.split()))}" for comment in comments]
    return "\n".join([*lines, *(f"{key} = {_value(value)}" for key, value in settings.items() if value is not None)])


def key_of(name: str, option: ParameterInfo | None) -> str:
    """The key of a parameter: its long option, or the word that stands for an argument in the help."""
    if isinstance(option, ArgumentInfo):
        return _word(option.metavar, name)
    spellings = [getattr(option, "default", None), *(getattr(option, "param_decls", None) or ())]
    long = [text for text in spellings if isinstance(text, str) and text.startswith("--")]
    return long[0].removeprefix("--") if long else name.replace("_", "-")


def _keys(param: Any) -> list[str]:
    """The keys that a parameter goes by: each long spelling of an option, the word of an argument."""
    if param.param_type_name == "argument":
        return [_word(param.metavar, param.name)]
    return [text.removeprefix("--") for text in param.opts if text.startswith("--") and text[2:] not in WITHOUT]


def _word(metavar: str | None, name: str) -> str:
    word = (metavar or name).strip("[]{}.").lower()
    return word if word.isidentifier() else name.replace("_", "-")


def _shown(param: Any) -> str:
    return str(param.metavar or param.name) if param.param_type_name == "argument" else param.opts[0]


def _text(path: Path) -> str:
    """What the file holds, in UTF-8, or in UTF-16 if it begins so. FormatError with the line for other letters."""
    from blockprop.saving.files import small_bytes

    try:
        content = small_bytes(path)
    except OSError as error:
        raise FormatError(f"{path}: the settings file could not be read ({error.strerror or error})") from None
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise FormatError(f"{path}, line {line}: expected a text file in UTF-8; save it as such") from None


def _place(path: Path, text: str, key: str) -> str:
    """The file and the line where a key is set."""
    wanted = re.compile(rf"\s*[\"']?{re.escape(key)}[\"']?\s*[=.\]]|\s*\[\s*{re.escape(key)}\b")
    lines = [number for number, line in enumerate(text.splitlines(), 1) if wanted.match(line)]
    return f"{path}, line {lines[0]}" if lines else str(path)


def _document(path: Path, text: str) -> dict[str, Any]:
    from blockprop.saving.toml_text import parse_toml

    try:
        return parse_toml(text)
    except ValueError as error:
        raise FormatError(f"{path}: expected TOML, such as epochs = 20 on a line of its own ({error})") from None


def _as_typed(path: Path, place: str, key: str, value: Any, param: Any) -> Any:
    """A value of the file as the command line would have it: text, several of it, or whether a flag is set."""
    if isinstance(value, dict):
        raise FormatError(f"{place}: {key!r} is a table; expected settings alone")
    flag = bool(getattr(param, "is_flag", False))
    truths = [isinstance(part, bool) for part in (value if isinstance(value, list) else [value])]
    if isinstance(value, bool) != flag or (any(truths) and not flag):
        raise FormatError(f"{place}: {key}: expected {_expected(param)}, came {_value(value)}")
    if flag:
        return value
    many = param.nargs == -1 or bool(getattr(param, "multiple", False))
    texts = [str(part) for part in value] if isinstance(value, list) else [str(value)]
    if param.type_descriptor.annotation is not Path:  # where results go
        texts = [_where(text, place, path) for text in texts]
    return texts if many else ",".join(texts)


def _expected(param: Any) -> str:
    """What stands behind a key, in words."""
    if getattr(param, "is_flag", False):
        return "true or false"
    return {int: "a whole number", float: "a number"}.get(param.type_descriptor.annotation, "text")


def _where(text: str, place: str, path: Path) -> str:
    """A setting that names a file, or file=weight, which lies beside the settings file if it does not lie here."""
    from blockprop.commands.seeking import file_where, names_file, sought

    name, _, weight = text.rpartition("=")
    for file, rest in ((text, ""), (name, f"={weight}")):
        if not file or Path(file).exists() or not (Path(file).suffix or Path(file).name != file):
            continue
        if (there := file_where(file, path)) != file:
            explain(f"{place}: {file} is that beside it, {there}")
            return there + rest
    file = name if name and names_file(name) else text
    if names_file(file) and not Path(file).exists():
        say(f"{place}: {sought(file, path)}")
    return text


def _value(value: Any) -> str:
    """A value as TOML, whose texts are written as those of JSON."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
