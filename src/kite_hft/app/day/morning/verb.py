"""Layer 6, by hand, cold: `kite-hft morning`: one screen before the day: GO, REDUCE-ONLY or NO-GO."""

from __future__ import annotations

import time
from collections import Counter
from typing import Annotated, Any, Final

import typer

from kite_hft.app import tables
from kite_hft.app.answering import NOT_SO, refuse
from kite_hft.app.day.doctor.checks import findings
from kite_hft.app.day.doctor.gathering import gather
from kite_hft.app.day.doctor.verb import opened_day
from kite_hft.app.day.facts import BrokerFacts, Facts
from kite_hft.app.day.morning.comparing import Changes, changes_of, hours_of
from kite_hft.app.day.morning.hours import ClassHours
from kite_hft.app.day.morning.left import left_of
from kite_hft.app.day.morning.screen import show
from kite_hft.app.day.morning.verdict import Morning, Reason, reasons, word_of
from kite_hft.app.day.opening import Opened
from kite_hft.app.day.reading import read_account
from kite_hft.app.keys.vault_options import PasswordFdOption
from kite_hft.app.person import user_name
from kite_hft.app.picture import JsonOption, StateOption, print_json, told
from kite_hft.app.setup.options import USUAL, ConfigOption, EnvironmentOption
from kite_hft.engine.runs.runs import Account, NoRun, accounts
from kite_hft.engine.runs.verdicts import FILE_NAME, NO_GO, append, standing
from kite_hft.sessions import CalendarError, ist_date, ist_text
from kite_hft.settings import SettingsError
from kite_hft.trading.instruments import InstrumentError

WIDTH: Final = 80


def morning(
    config: ConfigOption = USUAL,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="REASON",
            help="Trade nevertheless: the day's NO-GO is accepted, with this reason.",
        ),
    ] = None,
    environment: EnvironmentOption = None,
    password_fd: PasswordFdOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """One look before the day, ending in GO, REDUCE-ONLY or NO-GO, and why.

    Hours, token, changes since yesterday, what the account holds and what protects it, what the last run
    left. The verdict is kept in morning.jsonl of the account's folder. In mode live the engine refuses to
    open while the day's verdict is a NO-GO that nobody has accepted.

    Exit codes: 0 GO or REDUCE-ONLY, 1 NO-GO or the verdict could not be kept, 2 the configuration is wrong.
    """
    with told("morning"):
        opened = opened_day("morning", config, environment, state, password_fd, quiet=as_json)
        if accept is not None:
            return accepted(opened, accept, as_json=as_json)
        facts = gather(opened, prove=False, test_alerts=False)
        seen, problems = look(opened, facts)
        found = sorted([*problems, *reasons(seen)], key=lambda r: ["no-go", "reduce", "note"].index(r.level))
        word = word_of(found)
        row = verdict_row(opened, seen, found, word)
        lost = unkept(opened, row)
        if as_json:
            print_json(row | sections(opened, facts, seen) | {"kept": not lost})
        else:
            out = tables.console()
            out.width = min(out.width, WIDTH)
            show(out, opened, seen, found, word, [token_words(broker) for broker in facts.brokers])
        if lost:
            raise refuse("morning", lost, NOT_SO)
        if word == NO_GO:
            raise typer.Exit(1)


def accepted(opened: Opened, reason: str, *, as_json: bool = False) -> None:
    """Journal that a person trades on a NO-GO.

    Raises:
        NoRun: there is nothing to accept, or no reason was given.
    """
    stands = standing(opened.account, opened.day, opened.settings.mode, opened.config.resolve())
    if not reason.strip():
        raise NoRun('--accept needs a reason: kite-hft morning --accept "the holiday call of Upstox is down"')
    if stands is None or stands.verdict != NO_GO:
        said = (
            f"the morning of {stands.time} says {stands.verdict}" if stands else f"no morning of {opened.day}"
        )
        raise NoRun(f"there is no NO-GO to accept: {said}")
    row: dict[str, Any] = {
        "event": "accepted",
        "day": opened.day.isoformat(),
        "mode": opened.settings.mode,
        "config": str(opened.config.resolve()),
        "by": user_name(),
        "reason": reason.strip(),
    }
    row |= stamp()
    append(opened.account, row)
    if as_json:
        print_json(row | {"verdict_time": stands.time})
    else:
        print(f"accepted: NO-GO of {stands.time} ({reason.strip()})")


def unkept(opened: Opened, row: dict[str, Any]) -> str:
    """Keep the verdict; why it could not be, "" when it was."""
    try:
        append(opened.account, row)
    except OSError as error:
        return (
            f"this {row['verdict']} is not kept, no engine will know of it: {opened.account / FILE_NAME} "
            f"cannot be written ({error.strerror}). Mend that, then run it again"
        )
    return ""


def look(opened: Opened, facts: Facts) -> tuple[Morning, list[Reason]]:
    """What the verdict is made of, and what of it could not be had."""
    problems: list[Reason] = []
    hours: tuple[ClassHours, ...] = ()
    changes = Changes()
    try:
        hours = hours_of(opened)
        changes = changes_of(opened)
    except (SettingsError, CalendarError, InstrumentError) as error:
        problems.append(Reason("no-go", str(error), "kite-hft doctor"))
    account = account_of(opened)
    risk, alerts = opened.settings.risk, opened.settings.alerts
    found = Morning(
        tuple(findings(facts)), hours, changes, read_account(opened, account.running if account else None),
        left_of(opened.account, account, ist_date(opened.now_ns)),
        min_funds_paise=round(risk.min_funds * 100), naked_paise=round(alerts.naked_limit * 100),
    )  # fmt: skip
    return found, problems


def account_of(opened: Opened) -> Account | None:
    """The account with its runs; None: nothing has run on it yet."""
    settings = opened.settings
    rows = accounts(opened.root)
    return next((row for row in rows if (row.broker, row.name) == (settings.broker, settings.account)), None)


def stamp() -> dict[str, Any]:
    """When."""
    now_ns = time.time_ns()
    return {"time": ist_text(now_ns), "time_ns": now_ns}


def verdict_row(opened: Opened, seen: Morning, found: list[Reason], word: str) -> dict[str, Any]:
    """The line of morning.jsonl."""
    counts = Counter(row.level for row in seen.findings)
    return {
        "event": "verdict",
        "day": opened.day.isoformat(),
        **stamp(),
        "by": user_name(),
        "mode": opened.settings.mode,
        "config": str(opened.config.resolve()),
        "verdict": word,
        "reasons": [reason.row() for reason in found],
        "doctor": {level: counts[level] for level in ("ok", "warn", "fail")},
    }


def sections(opened: Opened, facts: Facts, seen: Morning) -> dict[str, Any]:
    """The rest of --json."""
    return {
        "hours": [row.row() for row in seen.hours],
        "tokens": [
            {"broker": b.name, "own_simulator": b.own, "present": b.token, "accepted": b.status == 200,
             "until": ist_text(b.until_ns) if b.until_ns else None}
            for b in facts.brokers
        ],
        "checks": [row.row() for row in seen.findings],
        "changes": seen.changes.row(),
        "account": seen.account.row(),
        "left": seen.left.row(),
        "instruments": len(opened.chosen),
    }  # fmt: skip


def token_words(broker: BrokerFacts) -> str:
    """One token for people."""
    if broker.own:
        return f"{broker.name}: the simulator brings its own"
    if not broker.token:
        return f"{broker.name}: [red]none of today[/red]"
    until = f"until {ist_text(broker.until_ns)[5:16]} IST" if broker.until_ns else "end unknown"
    taken = "[green]accepted[/green]" if broker.status == 200 else "[red]not accepted[/red]"
    return f"{broker.name}: {taken}, {until}"
