"""Layer 6, by hand, cold: `kite-hft subscribe` and `unsubscribe`: instruments of the running engine."""

from __future__ import annotations

import enum
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import typer

from kite_hft.app.picture import AccountOption, BrokerOption, StateOption, running_note, told
from kite_hft.engine.control import ask
from kite_hft.engine.look import MODES, Look
from kite_hft.engine.runs import NoRun, RunNote
from kite_hft.trading.instruments import Instrument, InstrumentError, read_csv

CONFIRM_S: Final = 5.0
LOOK_S: Final = 0.05

NamesArgument = Annotated[list[str], typer.Argument(help="EXCHANGE:SYMBOL or instrument token, one or more.")]


class Mode(enum.StrEnum):
    """What comes of an instrument."""

    LTP = "ltp"
    QUOTE = "quote"
    FULL = "full"


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
        Mode, typer.Option(help="ltp: last price, quote: and the day, full: and depth.")
    ] = Mode.FULL,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
) -> None:
    """Subscribe instruments of the run, or change their mode, while the engine trades."""
    change("subscribe", names, mode.value, account, broker, state)


def unsubscribe(
    names: NamesArgument,
    account: AccountOption = None,
    broker: BrokerOption = None,
    state: StateOption = None,
) -> None:
    """End the market data of instruments of the run; orders in them are refused as stale from then on."""
    change("unsubscribe", names, "off", account, broker, state)


def change(
    verb: str, names: list[str], mode: str, account: str | None, broker: str | None, state: Path | None
) -> None:
    """Ask the engine, then look whether its feeds have done it."""
    with told(verb):
        note = running_note(state, account, broker)
        wanted = resolved(note, names)
        request: dict[str, Any] = {"do": verb, "tokens": [row.token for row in wanted]}
        if verb == "subscribe":
            request["mode"] = mode
        ask(Path(note.control), request, 10.0)
        missing = unconfirmed(note, wanted, mode)
        for row in wanted:
            print(f"{row.key}: {'asked for, not confirmed yet' if row in missing else mode}")
        if missing:
            print(
                f"kite-hft {verb}: not confirmed within {CONFIRM_S:g} s; see kite-hft status",
                file=sys.stderr,
            )
            raise typer.Exit(1)


def mode_of(slot: int, tables: Sequence[npt.NDArray[np.void]]) -> str:
    """The mode in which any connection carries a slot; tables: SLOT_STATS rows of each connection."""
    return MODES[max((int(table[slot]["mode"]) for table in tables), default=0)]


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
            missing = [row for row in wanted if modes[row.slot] != MODES.index(mode)]
            if not missing or time.monotonic() > deadline:
                return missing
            time.sleep(LOOK_S)
    finally:
        look.close()
