"""Layer 6, by hand, cold: `kite-hft incident`: a run in one archive, for a broker's ticket."""

from __future__ import annotations

import datetime as dt
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kite_hft.app.answering import USAGE, refuse
from kite_hft.app.day.asking import Asking, NoAnswer
from kite_hft.app.day.brokers import NOTHING, is_own
from kite_hft.app.day.incident.pack import Pack, Span, build_note, mornings, run_files, timeline
from kite_hft.app.day.incident.redaction import redactor
from kite_hft.app.day.opening import unlocked
from kite_hft.app.day.reading import bodies_of, shelved
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.picture import (
    AccountOption,
    BrokerOption,
    JsonOption,
    StateOption,
    account_folder,
    print_json,
    selected,
    told,
)
from kite_hft.app.setup.options import EnvironmentOption
from kite_hft.brokers.table import broker_of
from kite_hft.engine.keys.contents import Contents
from kite_hft.engine.keys.password import hidden_prompt
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.keys.taking import with_keys
from kite_hft.engine.plan.session import configured
from kite_hft.engine.runs.runs import NOTE, NoRun, RunNote, newest_folder, read_note
from kite_hft.sessions import DAY_S, CalendarError, ist_date, ist_midnight_ns, ist_text, seconds_of_day
from kite_hft.settings import Settings, SettingsError, read_settings
from kite_hft.units import NS_PER_S

MINUTES: Final = 5.0
NOT_KEPT: Final = (
    "raw answers to order calls: the engine keeps what an answer proved (journal), not its text",
    "headers and credentials of requests: they never reach a file",
)
README: Final = """\
{title}
packed {packed} IST by kite-hft incident; times are India's (IST) unless they say ns (since 1970, UTC)
{span}

timeline.md       one line per event: start here
requests.jsonl    every order call with what its answer proved, our order number, our tag, the broker's id
evidence.csv      every call that left for the broker, to the microsecond, and how full his windows were
journal.bin       the engine's journal as it is on the disk; journal.jsonl: the same, one record a line
orders.csv, trades.csv, report.json, run.json, instruments.csv    what the run wrote of itself
alerts.jsonl, engine.log, morning.jsonl    what people were told
books/            the broker's own books, as they came: {books}
recorded/         raw frames (JSON lines, bytes in hex) and ticks (CSV) around the time
config/           configuration and rules of the run, keys blanked; build.json: which code, on what machine
earlier/          journals of runs of the day that this one went on from
SHA256SUMS        sha256sum -c SHA256SUMS

Keys, tokens and addresses of alerts are replaced by <secret>.
{left_out}
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The run that is packed. account: its folder; note: of the run, None: it left none."""

    folder: Path
    account: Path
    note: RunNote | None

    @property
    def title(self) -> str:
        return f"{self.account.name} run {self.folder.parent.name}/{self.folder.name}"

    @property
    def day(self) -> dt.date:
        try:
            return dt.date.fromisoformat(self.folder.parent.name)
        except ValueError:
            return ist_date(int(self.folder.stat().st_mtime_ns))

    @property
    def began_ns(self) -> int:
        """When the run began, by its folder's name (HHMMSS); with another name, when its day began."""
        midnight_ns, name = ist_midnight_ns(self.day), self.folder.name
        try:
            return midnight_ns + seconds_of_day(f"{name[:2]}:{name[2:4]}:{name[4:6]}") * NS_PER_S
        except CalendarError:
            return midnight_ns


def incident(
    around: Annotated[
        str | None, typer.Option("--around", metavar="HH:MM:SS", help="When it happened, in India's time.")
    ] = None,
    minutes: Annotated[
        float, typer.Option("--minutes", min=0.1, help="With --around: so much before and after it.")
    ] = MINUTES,
    run: Annotated[
        Path | None, typer.Option("--run", metavar="FOLDER", help="This run; default: the newest one.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the archive (default: where you are).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Also read the broker's books now, with the keys of this file."),
    ] = None,
    environment: EnvironmentOption = None,
    password_fd: PasswordFdOption = None,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pack everything about a run into one archive, for a broker's ticket or for yourself.

    Journal, requests with what their answers proved, raw frames around a time (where recorded), the broker's
    books, configuration, rules and build, alerts, log, and a timeline with one line per event. Without
    --around the timeline is of the whole run, and the frames of its last minute. Keys and tokens are taken
    out; the archive is readable by you alone. Look into it before you send it.

    Exit codes: 0 packed, 1 there is no run, or it cannot be written, 2 the command line or configuration.
    """
    with told("incident"):
        now_ns = time.time_ns()
        chosen = which(run, state, account, broker)
        span = span_of(chosen, around, minutes)
        settings, contents = keys_of(config, environment, password_fd, now_ns, quiet=as_json)
        pack = Pack(redactor(settings, contents), left_out=list(NOT_KEPT))
        books = books_of(pack, settings, chosen.note)
        events = run_files(pack, chosen.folder, span)
        mornings(pack, chosen.account, chosen.day.isoformat())
        pack.add("build.json", build_note(now_ns))
        pack.add("timeline.md", timeline(chosen.title, events, pack.left_out))
        pack.add("README.txt", readme(chosen, span, books, pack, now_ns))
        stamp = ist_text(now_ns).replace("-", "").replace(":", "").replace(" ", "-")
        top = f"incident-{chosen.account.name}-{stamp}"
        target = (out or Path.cwd()) / f"{top}.tar.gz"
        pack.write(target, top, now_ns // NS_PER_S)
        say(target, chosen, pack, len(events), books, as_json=as_json)


def which(run: Path | None, state: Path | None, account: str | None, broker: str | None) -> Chosen:
    """The run that the options mean.

    Raises:
        NoRun: there is none.
    """
    if run is not None:
        folder = run.resolve()
        if not folder.is_dir():
            raise NoRun(f"{run}: no such run folder; kite-hft status names the newest one")
        return Chosen(folder, folder.parent.parent, read_note(folder / NOTE))
    found = selected(state, account, broker)
    folder, _ = newest_folder(found)
    return Chosen(folder.resolve(), account_folder(found), found.running or read_note(folder / NOTE))


def span_of(chosen: Chosen, around: str | None, minutes: float) -> Span:
    """(from, until) in epoch ns; None: all of the run. What ends before it begins is of the next day."""
    if around is None:
        return None
    try:
        at_ns = ist_midnight_ns(chosen.day) + seconds_of_day(around) * NS_PER_S
    except CalendarError as error:
        raise typer.BadParameter(f"--around: {error}") from None
    half_ns = round(minutes * 60 * NS_PER_S)
    if at_ns + half_ns < chosen.began_ns:
        at_ns += DAY_S * NS_PER_S
    return at_ns - half_ns, at_ns + half_ns


def keys_of(
    config: Path | None, environment: str | None, password_fd: int | None, now_ns: int, *, quiet: bool
) -> tuple[Settings | None, Contents]:
    """Settings with their keys: to read the books, and to know what must not be packed."""
    if config is None:
        return None, {}
    harden_process()  # before any secret
    try:
        loaded = read_settings(config, environment)
    except SettingsError as error:
        raise refuse("incident", f"configuration: {error}", USAGE) from None
    prompt = None if quiet else hidden_prompt("master password of the vault (not shown): ")
    keys, contents = unlocked(loaded, password_fd, prompt, os.environ, lambda text: None)
    if keys.error:
        raise NoRun(f"the vault cannot be used: {keys.error}; or pack without --config")
    return with_keys(loaded.settings, contents, now_ns, sinks=False), contents


def books_of(pack: Pack, settings: Settings | None, note: RunNote | None) -> str:
    """The broker's raw books into the pack; returns where they are from, in words."""
    if settings is not None:
        access = configured(settings, settings.broker)
        if settings.mode == "paper" or is_own(settings, access) or not access.access_token:
            pack.left_out.append("the broker's books: the configuration has no account to ask")
        else:
            with Asking(access, broker_of(access.broker, NOTHING)) as asking:
                try:
                    return _put(pack, bodies_of(asking, asking.broker), f"read from {access.broker} now")
                except NoAnswer as error:
                    pack.left_out.append(f"the broker's books: {error}")
    if note is not None and note.alive():
        return _put(pack, shelved(note), "as the running engine read them last")
    if settings is None:
        pack.left_out.append("the broker's books: --config FILE reads them")
    return "not there"


def _put(pack: Pack, bodies: dict[str, bytes], words: str) -> str:
    for name, body in bodies.items():
        pack.add(f"books/{name}.json", body)
    return words if bodies else "not there"


def readme(chosen: Chosen, span: Span, books: str, pack: Pack, now_ns: int) -> str:
    """What is what."""
    words = "the timeline is of the whole run, recorded/ of its last minute"
    if span is not None:
        since, until = ist_text(span[0]), ist_text(span[1])[11:]
        words = f"timeline and recorded/: {since} to {until}; journal and csv files: all of the run"
    left = "\n".join(["Not here:", *(f"- {text}" for text in pack.left_out)])
    return README.format(
        title=f"Incident pack: {chosen.title}",
        packed=ist_text(now_ns),
        span=words,
        books=books,
        left_out=left,
    )


def say(target: Path, chosen: Chosen, pack: Pack, events: int, books: str, *, as_json: bool) -> None:
    """What was packed."""
    size = target.stat().st_size
    if as_json:
        found: dict[str, Any] = {
            "archive": str(target), "bytes": size, "run": str(chosen.folder), "events": events,
            "books": books,
            "files": sorted(pack.files), "left_out": pack.left_out,
        }  # fmt: skip
        return print_json(json.loads(json.dumps(found)))
    print(f"{target}: {size:,} bytes, {len(pack.files)} files, {events:,} events of {chosen.title}")
    print(f"broker's books: {books}")
    for text in pack.left_out:
        print(f"not in it: {text}")
    print("Look into it before you send it: tar -xzf FILE, then README.txt and timeline.md")
