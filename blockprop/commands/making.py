"""How a command makes a picture and writes it: from settings alone, so that `replay` can do it again."""

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from rich.filesize import decimal
from torch import Tensor

from blockprop.commands.console import explain, readable, say, show, show_table, watched
from blockprop.commands.inputs import network_for_photos, open_network
from blockprop.commands.memory import MemoryWatch
from blockprop.commands.photos import is_made
from blockprop.commands.picture_settings import Made, PictureSettings, Surroundings
from blockprop.commands.results import place
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.networks.shipped import is_shipped
from blockprop.pictures.picture_files import as_png, write_picture
from blockprop.pictures.provenance import how_made
from blockprop.reports.curves import ascent_curves, part_name
from blockprop.reports.figures import svg
from blockprop.reports.page import Section, page
from blockprop.saving.files import Dispensable, require_writable, write_file
from blockprop.visualize.running import PictureRecord, PictureRun

Kind = TypeVar("Kind", bound=PictureSettings)
WIDE = 640
"""Pixels."""
WORD = 24
"""Characters of a fact that a page shows large."""
ENTRIES = 14
"""Of a list of settings, as many as a page shows."""


def run_command(settings: PictureSettings) -> None:
    """Make a picture, write it with all settings, and the page if wanted, and say what came out of it."""
    if settings.told():
        return
    made, facts = made_by(settings)
    print_made(made, facts, settings.as_json)


def made_by(settings: PictureSettings) -> tuple[Made, dict[str, Any]]:
    """Make a picture, write it with all settings, and the page if wanted: (what was made, facts to print)."""
    around = _surroundings(settings)
    if around.resume and not states_of(around):
        raise SettingError(f"there is no state {around.state} to go on from; leave out --resume")
    settings = with_network(settings)
    if settings.report is not None:
        settings = replace(settings, report=place(settings.report))
    require_apart(settings, around)
    for path in filter(None, (around.out, settings.page)):
        require_writable(path)
    made, how = make_and_write(settings, around)
    facts = made.facts | {"picture": str(around.out)}
    if settings.page is not None:
        write_file(settings.page, _page(settings.command, made, how))
        facts["report"] = str(settings.page)
    return made, facts


def _surroundings(settings: PictureSettings) -> Surroundings:
    out = settings.out or Path(f"{settings.command}.png")
    state = state_of(settings) if settings.keeps_state else None
    return Surroundings(out, settings.as_json, settings.preview_every, state, settings.resume)


def state_of(settings: PictureSettings) -> Path:
    """Where Ctrl-C leaves what a run goes on from."""
    out = settings.out or Path(f"{settings.command}.png")
    return out.with_name(out.name + ".state")


def with_network(settings: Kind) -> Kind:
    """With the network that comes with the package, if none is named."""
    if settings.network is not None:
        return settings
    network = network_for_photos(settings.pictures_read() if settings.pictures_choose_network else ())
    say(f"the network is {network}, which comes with blockprop; --network names another", settings.as_json)
    return replace(settings, network=network)


def make_and_write(
    settings: PictureSettings, around: Surroundings, require: Callable[[Network], None] | None = None
) -> tuple[Made, dict[str, Any]]:
    """Make a picture and write it with all settings: (what was made, how).

    settings: with their network.   require: raises if it is not the right network.
    """
    network = open_network(
        str(settings.network),
        settings.own_blocks,
        settings.device,
        settings.preprocessing,
        settings.as_json,
        settings.opaque,
    )
    if require is not None:
        require(network)
    explain(
        f"{settings.network}: {len(network.nodes)} nodes; settings: {_entry([*settings.kept().items()])}",
        settings.as_json,
    )
    kept = settings.kept()
    seed = kept.pop("seed")
    how = how_made(settings.command, kept, seed, network, settings.pictures_read())
    made = settings.make(network, replace(around, how=how))
    if made.stopped is not None:
        how["arguments"]["stop"] = made.stopped
    write_picture(around.out, made.picture, how)
    if made.stopped is None:
        for state in states_of(around):
            state.unlink()
    return made, how


def states_of(around: Surroundings) -> list[Path]:
    """The state, and those of the batches of a sheet, `state`.1 and so on, as far as they exist."""
    if around.state is None:
        return []
    numbered = around.state.parent.glob(f"{glob.escape(around.state.name)}.*")
    paths = [around.state, *(path for path in numbered if path.suffix[1:].isdecimal())]
    return [path for path in paths if path.is_file()]


def require_apart(settings: PictureSettings, around: Surroundings) -> None:
    """SettingError if something that is written would take the place of something that is read, or of a stranger's."""
    network = str(settings.network)
    read = [*settings.pictures_read(), *([] if is_shipped(network) else [network])]
    taken = {os.path.realpath(path) for path in read if path}
    preview = around.preview if around.preview_every else None
    for path in filter(None, (around.out, *settings.beside(), settings.page, around.state, preview)):
        if os.path.realpath(path) in taken:
            raise SettingError(f"{path} is read or written for this, and would be overwritten; choose another --out")
        taken.add(os.path.realpath(path))
    if preview is not None and preview.exists() and not is_made(preview):
        raise SettingError(f"{preview} is there already, and blockprop did not make it; choose another --out")


def print_made(made: Made, facts: Mapping[str, Any], as_json: bool) -> None:
    """Print what came out; KeyboardInterrupt if that is how it ended."""
    if as_json:
        show(facts, as_json)
    else:
        if made.table:
            show_table(made.table[0], made.table[1:])
            print()
        show({name: value for name, value in facts.items() if not isinstance(value, list | dict)}, as_json)
    for note in made.notes:
        say(note, as_json)
    if made.stopped is not None:
        raise KeyboardInterrupt


def run_with_previews(
    run: PictureRun,
    title: str,
    around: Surroundings,
    stop: int | None = None,
    part: tuple[int, int] = (0, 1),
    memory: MemoryWatch | None = None,
) -> tuple[list[PictureRecord], bool]:
    """Run to the end, or so many steps, with a progress bar and previews: (its records, whether Ctrl-C ended it).

    part: (which, of how many) runs with as many steps this is.   memory: is told what the run will take.
    """
    if memory is not None:
        memory.expect(run.expected)
    done: list[PictureRecord] = []
    shown, written = around.preview_every, False
    told = bool(states_of(around))
    preview = Dispensable("the run goes on without previews")
    try:
        with closing(run), closing(watched(title, around.quiet, line_of)(run)) as records:
            for step in records:
                done.append(step if step.picture is None else step._replace(picture=None))
                if not told and (told := bool(states_of(around))):
                    say(f"--resume can go on after an interruption{_kept_in(around)}", around.quiet)
                if shown and step.step % shown == 0 and step.picture is not None:
                    how = around.how | {"arguments": around.how.get("arguments", {}) | {"stop": step.step}}
                    with preview.written():
                        write_picture(around.preview, step.picture[0], how)
                    written = True
                if step.step == stop:
                    break
    except KeyboardInterrupt:
        if not run.step:
            raise
        made, steps = part[0] * run.steps + run.step, part[1] * run.steps
        say(f"stopped after {made} of {steps} steps; {around.out} gets the picture so far", around.quiet)
        if states_of(around):
            say(f"the same command with --resume goes on{_kept_in(around)}", around.quiet)
        return done, True
    finally:
        if written:
            around.preview.unlink(missing_ok=True)
    return done, False


def _kept_in(around: Surroundings) -> str:
    """Where the state lies and how large it is, for the end of a sentence."""
    states = states_of(around)
    size = decimal(sum(path.stat().st_size for path in states))
    return f": {around.state} ({size}) keeps what that needs, until the picture is finished" if states else ""


def line_of(step: PictureRecord) -> str:
    """The value of a step and its parts, in a line."""
    parts = ", ".join(f"{part_name(title)} {value:.3g}" for title, value in step.parts.items())
    return f"{step.value:.4g} = {parts}" if len(step.parts) > 1 else f"{step.value:.4g}"


def run_sections(run: PictureRun, done: Sequence[PictureRecord]) -> list[Section]:
    """How a run went, if it made any step."""
    if not done:
        return []
    text = f"The value that was {'minimized' if run.minimizes else 'maximized'}, and what adds up to it, at every step"
    text += "." if done[0].step == 1 else f" since it went on at step {done[0].step}."
    return [Section("How it went", text, [svg(ascent_curves(done))])]


def _page(command: str, made: Made, how: Mapping[str, Any]) -> str:
    facts = {name.replace("_", " "): readable(name, value) for name, value in made.facts.items() if _is_fact(value)}
    rows = [[name.replace("_", " "), _entry(value)] for name, value in how["arguments"].items() if value or value == 0]
    settings = Section(
        "Settings",
        "They stand in the picture's file, too: blockprop replay makes the same picture from them.",
        table=[["setting", "value"], *rows, ["seed", str(how["seed"])]],
    )
    tables = [Section("Numbers", table=made.table)] if made.table else []
    title = " ".join(["blockprop", command, *how["arguments"].get("targets", [])[:3]])
    picture = Section("Picture", "\n\n".join(made.notes), [as_png(_enlarged(made.picture))])
    return page(title, [picture, *made.sections, *tables, settings], facts)


def _enlarged(picture: Tensor) -> Tensor:
    """A small picture by a whole factor, so that a page shows it about as wide as others."""
    factor = max(1, WIDE // max(picture.shape[1:]))
    return picture.repeat_interleave(factor, 1).repeat_interleave(factor, 2)


def _is_fact(value: Any) -> bool:
    return isinstance(value, int | float) or (isinstance(value, str) and len(value) <= WORD)


def _entry(value: Any) -> str:
    if isinstance(value, list | tuple):
        more = "" if len(value) <= ENTRIES else f" … ({len(value)} in all)"
        return ", ".join(map(str, value[:ENTRIES])) + more
    return str(value)


def require_one(what: str, values: Sequence[Any], option: str) -> None:
    """SettingError unless there is exactly one."""
    if len(values) != 1:
        raise SettingError(f"{option} is for one {what}, came {len(values)}")
