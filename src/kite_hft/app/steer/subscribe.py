"""Layer 6, by hand, cold: `kite-hft subscribe` and `unsubscribe`: instruments of the running engine."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from kite_hft.app.answering import NOT_SO, JsonOption, print_json, refuse, say
from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.configuring.models.broker import mode_of
from kite_hft.engine.processes.control import ask
from kite_hft.engine.runs.look import Look, mode_names
from kite_hft.engine.runs.runs import NoRun, RunNote
from kite_hft.trading.instruments import Instrument, InstrumentError, read_csv

CONFIRM_S: Final = 5.0
LOOK_S: Final = 0.05

NamesArgument = Annotated[list[str], typer.Argument(help="EXCHANGE:SYMBOL or instrument token, one or more.")]


def resolved(note: RunNote, names: Sequence[str]) -> list[Instrument]:
    """The instruments of the run that are meant.

    Raises:
        NoRun: one that the run does not have; the message names the nearest.
    """
    try:
        table = read_csv(Path(note.folder) / "instruments.csv")
        return [table.resolve(int(name) if name.isdecimal() else name) for name in dict.fromkeys(names)]
    except InstrumentError as error:
        raise NoRun(f"{error}; the run knows what datafeed.instruments named at its start") from None


def subscribe(
    names: NamesArgument,
    mode: Annotated[
        str,
        typer.Option(
            help="ltp: last price, quote: and the day, full: and depth; of Upstox ltpc, option_greeks, full, "
            "full_d30."
        ),
    ] = "full",
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """Subscribe instruments of the run, or change their mode, while the engine trades.

    Exit codes: 0 subscribed, 1 no engine, not of the run, or not confirmed.
    """
    change("subscribe", names, mode, account, broker, state, as_json=as_json)


def unsubscribe(
    names: NamesArgument,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
    as_json: JsonOption = False,
) -> None:
    """End the market data of instruments of the run; orders in them are refused as stale from then on.

    Exit codes: 0 ended, 1 no engine, not of the run, or not confirmed.
    """
    change("unsubscribe", names, "off", account, broker, state, as_json=as_json)


def change(
    verb: str,
    names: list[str],
    mode: str,
    account: str | None,
    broker: str | None,
    state: Path | None,
    *,
    as_json: bool,
) -> None:
    """Ask the engine, then look whether its feeds have done it."""
    with told(verb):
        note = running_note(state, account, broker)
        wanted = resolved(note, names)
        if verb == "subscribe":
            mode = known_mode(note, mode)
        request: dict[str, Any] = {"do": verb, "tokens": [row.token for row in wanted]}
        if verb == "subscribe":
            request["mode"] = mode
        ask(Path(note.control), request, 10.0)
        missing = unconfirmed(note, wanted, mode)
        for row in wanted:
            say(f"{row.key}: {'asked for, not confirmed yet' if row in missing else mode}")
        if as_json:
            print_json({"mode": mode, "instruments": {row.key: row not in missing for row in wanted}})
        if missing:
            raise refuse(verb, f"not confirmed within {CONFIRM_S:g} s; see kite-hft status", NOT_SO)


def known_mode(note: RunNote, mode: str) -> str:
    """A mode in the word of the run's data broker.

    Raises:
        NoRun: it has no such mode; the message names those that it has.
    """
    try:
        return mode_of(note.data_brokers[0], mode)
    except ValueError as error:
        raise NoRun(str(error)) from None


def unconfirmed(note: RunNote, wanted: Sequence[Instrument], mode: str) -> list[Instrument]:
    """Instruments that no feed shows in `mode` within CONFIRM_S; off: that a feed still shows."""
    look = Look.open(note)
    try:
        deadline = time.monotonic() + CONFIRM_S
        while True:
            tables = look.slot_stats().values()
            modes = {
                row.slot: max((int(table[row.slot]["mode"]) for table in tables), default=0) for row in wanted
            }
            missing = [row for row in wanted if modes[row.slot] != mode_names(note).index(mode)]
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(LOOK_S)
    finally:
        look.close()
