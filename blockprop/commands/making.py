"""How a command makes a picture: from settings alone, so that `replay` can do it again.

A maker is a function (network, around, *, its settings) -> Made. Its settings are plain data, and stand in the file of
the picture; what is around a run changes nothing in the picture.
"""

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from blockprop.commands.console import readable, say, show, show_table, watched
from blockprop.commands.inputs import network_for_photos
from blockprop.commands.photos import is_made, open_network
from blockprop.engine.network import Network
from blockprop.errors import SettingError
from blockprop.networks.shipped import is_shipped
from blockprop.pictures.picture_files import as_png, write_picture
from blockprop.pictures.provenance import how_made
from blockprop.reports.curves import ascent_curves, part_name
from blockprop.reports.figures import svg
from blockprop.reports.page import Section, page
from blockprop.saving.files import require_writable, write_file
from blockprop.visualize.running import PictureRecord, PictureRun

WIDE = 640
"""Pixels."""
WORD = 24
"""Characters of a fact that a page shows large."""
ENTRIES = 14
"""Of a list of settings, as many as a page shows."""


@dataclass(frozen=True)
class Around:
    """What surrounds a run without changing its picture.

    out: where the picture will go.   preview_every: steps between two previews beside it.   keep_state: whether to keep
    a state beside it, to go on from.   resume: go on from that.   also, frames: other files that it writes.
    """

    out: Path
    own_blocks: str | None = None
    device: str = "cpu"
    quiet: bool = False
    preview_every: int | None = None
    keep_state: bool = False
    resume: bool = False
    also: Path | None = None
    frames: tuple[Path, ...] = ()
    other: str | None = None
    how: dict[str, Any] = field(default_factory=dict)

    @property
    def state(self) -> Path:
        return self.out.with_name(self.out.name + ".state")

    def states(self) -> list[Path]:
        """The state, and those of the batches of a sheet, `state`.1 and so on, as far as they exist."""
        numbered = self.state.parent.glob(f"{glob.escape(self.state.name)}.*")
        found = [self.state, *(path for path in numbered if path.suffix[1:].isdecimal())]
        return [path for path in found if path.is_file()]

    @property
    def preview(self) -> Path:
        return self.out.with_name(f"{self.out.stem}.preview{self.out.suffix}")


@dataclass
class Made:
    """What a command has made: the picture, facts and a table to print, and sections for a page.

    stopped: after how many steps Ctrl-C ended the run; None if nothing did.
    """

    picture: Tensor
    facts: dict[str, Any] = field(default_factory=dict)
    table: Sequence[Sequence[str]] = ()
    sections: list[Section] = field(default_factory=list)
    notes: Sequence[str] = ()
    stopped: int | None = None


Maker = Callable[..., Made]


def deliver(
    command: str,
    maker: Maker,
    settings: Mapping[str, Any],
    around: Around,
    report: Path | None = None,
    as_json: bool = False,
) -> None:
    """Make a picture, write it with all settings, and the page if wanted, and say what came out of it.

    settings: with "network", its file, and "seed"; "pictures", the files that it is made from, if there are any.
    """
    if settings["network"] is None:
        seen = () if command == "stylize" else settings.get("pictures") or ()  # style is of colors
        settings = {**settings, "network": network_for_photos(seen)}
        say(f"the network is {settings['network']}, which comes with blockprop; --network names another", as_json)
    require_apart(around, settings, report)
    for path in (around.out, report / "index.html" if report else around.out):
        require_writable(path)
    made, how = produce(command, maker, settings, around)
    facts = made.facts | {"picture": str(around.out)}
    if report is not None:
        write_file(report / "index.html", _page(command, made, how))
        facts["report"] = str(report / "index.html")
    tell(made, facts, around, as_json)


def produce(
    command: str,
    maker: Maker,
    settings: Mapping[str, Any],
    around: Around,
    expect: Callable[[Network], None] | None = None,
) -> tuple[Made, dict[str, Any]]:
    """Make a picture and write it with all settings: (what was made, how).

    expect: raises if it is not the right network.
    """
    network = open_network(settings["network"], around.own_blocks, around.device)
    if expect is not None:
        expect(network)
    kept = {name: value for name, value in settings.items() if name != "seed"}
    how = how_made(command, kept, settings["seed"], network, settings.get("pictures", ()))
    own = {name: value for name, value in settings.items() if name != "network"}
    made = maker(network, replace(around, how=how), **own)
    if made.stopped is not None:
        how["arguments"]["stop"] = made.stopped
    write_picture(around.out, made.picture, how)
    if made.stopped is None and around.keep_state:
        for state in around.states():
            state.unlink()
    return made, how


def require_apart(around: Around, settings: Mapping[str, Any], report: Path | None = None) -> None:
    """SettingError if something that is written would take the place of something that is read, or of a stranger's."""
    read = [*settings.get("pictures", ()), *([] if is_shipped(settings["network"]) else [settings["network"]])]
    taken = {os.path.realpath(path) for path in read if path}
    written = [around.out, around.also, *around.frames, report and report / "index.html"]
    written += [around.state] * around.keep_state + [around.preview] * bool(around.preview_every)
    for path in filter(None, written):
        if os.path.realpath(path) in taken:
            raise SettingError(f"{path} is read or written for this, and would be overwritten; choose another --out")
        taken.add(os.path.realpath(path))
    if around.preview_every and around.preview.exists() and not is_made(around.preview):
        raise SettingError(f"{around.preview} is there already, and blockprop did not make it; choose another --out")


def tell(made: Made, facts: Mapping[str, Any], around: Around, as_json: bool) -> None:
    """Print what came out; KeyboardInterrupt if that is how it ended."""
    if as_json:
        show(facts, as_json)
    else:
        if made.table:
            show_table(made.table[0], made.table[1:])
            print()
        show({name: value for name, value in facts.items() if not isinstance(value, list | dict)}, as_json)
    for note in made.notes:
        say(note, around.quiet)
    if made.stopped is not None:
        raise KeyboardInterrupt


def follow(
    run: PictureRun,
    title: str,
    around: Around,
    stop: int | None = None,
    seen: Callable[[PictureRecord], None] | None = None,
) -> tuple[list[PictureRecord], bool]:
    """Run to the end, or so many steps, with a progress bar and previews: (its records, whether Ctrl-C ended it).

    seen: is given each record.
    """
    done: list[PictureRecord] = []
    shown, written = around.preview_every, False
    try:
        with closing(run):
            for step in watched(title, around.quiet, told)(run):
                done.append(step if step.picture is None else step._replace(picture=None))
                if seen is not None:
                    seen(step)
                if shown and step.step % shown == 0 and step.picture is not None:
                    how = around.how | {"arguments": around.how.get("arguments", {}) | {"stop": step.step}}
                    write_picture(around.preview, step.picture[0], how)
                    written = True
                if step.step == stop:
                    break
    except KeyboardInterrupt:
        if not run.step:
            raise
        say(f"stopped after {run.step} of {run.steps} steps; {around.out} gets the picture so far", around.quiet)
        if around.keep_state:
            say("the same command with --resume goes on", around.quiet)
        return done, True
    finally:
        if written:
            around.preview.unlink(missing_ok=True)
    return done, False


def told(step: PictureRecord) -> str:
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
