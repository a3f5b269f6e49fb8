"""Layer 6, by hand, cold: what a running engine makes of a kill, for people: `kite-hft kill` waits for it.

Only looks: at the order process's counters and at the run's journal.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Final

from kite_hft.app.answering import say
from kite_hft.app.steer.stop import many
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.runs.ledger import Ledger, read_ledger
from kite_hft.engine.runs.look import Look
from kite_hft.engine.runs.runs import Account, NoRun, RunNote, newest_folder
from kite_hft.memory.segment import SegmentError
from kite_hft.sessions import ist_text
from kite_hft.trading.lifecycle import TERMINAL

CONFIRM_S: Final = 3.0
LOOK_S: Final = 0.02
CANCELS_PER_S: Final = 8
"""What the broker's windows let through, with 10 calls in 1.25 s."""
SLACK_S: Final = 1.0
EXIT_UNCONFIRMED: Final = 3


def follow(account: Account, begun_ns: int, wait_s: float, *, flatten: bool) -> int:
    """Say what the engine does about it, until the entries are cancelled; the exit code."""
    note = account.running
    if note is None:
        return without_engine(account)
    try:
        look = Look.open(note)
    except (SegmentError, OSError) as error:
        return unconfirmed(note, f"its memory cannot be read: {error}")
    try:
        deadline = time.monotonic() + CONFIRM_S
        while not look.readings.values("orders")["state_killed"]:
            if time.monotonic() > deadline:
                return unconfirmed(note, f"the order process has not shown it within {CONFIRM_S:g} s")
            time.sleep(LOOK_S)
        took_ms = (time.monotonic_ns() - begun_ns) / 1e6
        say(f"confirmed by the order process after {took_ms:.0f} ms: no order that opens leaves any more")
        return until_cancelled(note, wait_s, flatten=flatten)
    finally:
        look.close()


def until_cancelled(note: RunNote, wait_s: float, *, flatten: bool) -> int:
    """Follow the journal until no entry lives; what stays is said."""
    entries, exits = open_orders(note)
    due_s = entries / CANCELS_PER_S + SLACK_S
    if entries:
        at = ist_text(time.time_ns() + round(due_s * 1e9)).split(" ")[1]
        say(f"{many(entries, 'entry is', 'entries are')} being cancelled: all cancels are out by {at} IST")
    deadline = time.monotonic() + wait_s
    while entries and time.monotonic() < deadline:
        time.sleep(0.2)
        entries, exits = open_orders(note)
    if entries:
        words = many(entries, "entry is", "entries are")
        say(f"after {wait_s:g} s {words} not known to be cancelled: kite-hft orders, and the broker's app")
    else:
        say("no entry lives")
    if exits and not flatten:
        say(f"{many(exits, 'exit or stop stays', 'exits and stops stay')} at the broker")
    elif flatten:
        say("positions are being closed; kite-hft positions tells when they are flat")
    return EXIT_UNCONFIRMED if entries and wait_s else 0


def open_orders(note: RunNote) -> tuple[int, int]:
    """(entries, exits) that may still fill, by the run's journal."""
    try:
        ledger: Ledger = read_ledger(Path(note.folder), running=True)
    except NoRun:
        return 0, 0
    live = [order for order in ledger.book.live() if order.status not in TERMINAL]
    entries = sum(1 for order in live if order.opening)
    return entries, len(live) - entries


def without_engine(account: Account) -> int:
    """Nobody can send anything; what an earlier run left lies at the broker."""
    say("no engine runs on it: nothing can be sent; an engine that is started begins KILLED")
    try:
        folder, _ = newest_folder(account)
        ledger = read_ledger(folder, running=False)
    except NoRun:
        return 0
    if live := list(ledger.book.live()):
        words = many(
            len(live), "order of the newest run may still work", "orders of the newest run may still work"
        )
        say(f"{words} at the broker (kite-hft orders): cancel in its app, or start the engine, which cancels")
    return 0


def unconfirmed(note: RunNote, why: str) -> int:
    """The latch is set, or the engine was told, but it has not shown that it knows."""
    alive = f"its supervisor is process {note.pid}"
    latched = read_latch(Path(note.folder).parent.parent) is not None
    done = "the latch is set, and nothing that opens leaves while it is" if latched else "the engine was told"
    print(
        f"kite-hft kill: {done}; but {why}. See "
        f"kite-hft status; if the engine hangs, end it ({alive}) and look at the orders in the broker's app",
        file=sys.stderr,
    )
    return EXIT_UNCONFIRMED
