"""Layer 5, orders process, cold: what the stage may latch outside itself, and the signal that kills.

The kill latch is a file of the account (latch.py). It counts as soon as it is there; a thread beside sees it
to the disk, for a disk that hangs must not keep the order thread from the cancels that the kill is about.
Held strategies are kept by name in `HOLDS` beside it, for the next run on the same broker; a broker that
lives only as long as its run has nothing to keep.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Final

from kite_hft.clock import Clock
from kite_hft.engine.orders.latch import NAME, Job, Latched, at_once, set_latch, sync
from kite_hft.engine.orders.unwritten import UNWRITTEN, Kills
from kite_hft.plain import plain_text
from kite_hft.trading.gate.holds import HALTED, REDUCING, Hold

HOLDS: Final = "HOLDS"
SIGNAL: Final = signal.SIGUSR1
SETTLE_S: Final = 1.0
"""So long a process that ends waits for the disk to have what it latched."""
Alarm = Callable[[str, str, str], None]
"""Tells a person: (code, key, text)."""


class Beside:
    """A thread that does what may wait for the disk, in order. Jobs may be given in a signal's handler, too.

    Where no thread can be started they are done at once.
    """

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()  # the one queue that a handler may interrupt
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Harmless when repeated; not for a handler. A process that ends waits for what is left, at most
        SETTLE_S."""
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="latch-sync", daemon=True)
            with contextlib.suppress(RuntimeError):
                thread.start()
                self._thread = thread
                atexit.register(self.settle)

    def __call__(self, job: Job) -> None:
        """Do it soon."""
        if self._thread is None:
            job()
        else:
            self._jobs.put(job)

    def settle(self, longest_s: float = SETTLE_S) -> bool:
        """Wait until all that was given is done; False: it is not, after so long."""
        done = threading.Event()
        self(done.set)
        return done.wait(longest_s)

    def _work(self) -> None:
        while True:
            self._jobs.get()()


disk: Final = Beside()
"""Of this process."""


def latch_ports(kills: Kills, broker: str, names: Mapping[int, str], alarm: Alarm) -> dict[str, Any]:
    """The fields of Ports that latch. names: strategy number -> name; broker: "" keeps no holds."""
    disk.start()
    account, watch = kills.account, kills.watch

    def unkill(by: str) -> None:
        try:
            if not kills.unkill(by):
                alarm("FILE_FAILED", "KILL", f"not resumed: {UNWRITTEN.format(latch=account / NAME)}")
        except OSError as error:
            alarm("FILE_FAILED", "KILL", f"the kill latch cannot be removed: {error.strerror}")

    def keep(holds: Mapping[int, Hold]) -> None:
        try:
            own, mine = {names.get(n, str(n)): held for n, held in holds.items()}, set(names.values())
            others = {name: held for name, held in read_holds(account, broker).items() if name not in mine}
            write_holds(account, broker, others | own, later=disk)
        except OSError as error:
            alarm("FILE_FAILED", HOLDS, f"held strategies are not kept: {error.strerror}")

    every = _read(account) if broker else None
    if broker and every is None:
        alarm("FILE_FAILED", HOLDS, f"{account / HOLDS} cannot be read: who is held is not known")
    kept = None if every is None else every.get(broker, {})
    return {
        "killed": watch.killed,
        "kill_flat": watch.flatten,
        "killed_by": lambda: watch.by,
        "kill": kills.kill,
        "unkill": unkill,
        "holds": None if kept is None else {n: kept[name] for n, name in names.items() if name in kept},
        "keep_holds": keep if broker else lambda holds: None,
    }


def write_holds(
    account: Path, broker: str, holds: Mapping[str, Hold], *, later: Callable[[Job], None] = at_once
) -> None:
    """All that are held on one broker; the rows of others stay. Whole or not at all; no hold: no file. It is
    on the disk when this returns; for who must not wait for a disk when `later` has done what it is given.

    Raises:
        OSError: it cannot be written.
    """
    _write(account, (_read(account) or {}) | {broker: dict(holds)}, later)


def read_holds(account: Path, broker: str = "") -> dict[str, Hold]:
    """Held strategies by name, of that broker alone when one is named; none when nothing can be read."""
    found = _read(account) or {}
    if broker:
        return found.get(broker, {})
    return {name: held for rows in found.values() for name, held in rows.items()}


def holds_known(account: Path) -> bool:
    """The file of holds can be read, or there is none."""
    return _read(account) is not None


def release_holds(account: Path, name: str | None) -> None:
    """Let one strategy go on in the next run, or (None) all.

    Raises:
        OSError: the file cannot be changed.
    """
    holds = _read(account)
    found = (holds or {}).items()
    left = {broker: {n: held for n, held in rows.items() if name not in (None, n)} for broker, rows in found}
    if left != holds and (
        holds is not None or name is None
    ):  # one of a damaged file says nothing of the rest
        _write(account, left, at_once)


def _write(account: Path, holds: Mapping[str, Mapping[str, Hold]], later: Callable[[Job], None]) -> None:
    """By broker and name."""
    path = account / HOLDS
    rows = {
        broker: {name: {"level": held.level, "reason": held.reason} for name, held in of_broker.items()}
        for broker, of_broker in holds.items()
        if of_broker
    }
    if rows:
        fresh = account / f".{HOLDS}-{os.getpid()}"
        fresh.write_text(json.dumps({"brokers": rows}) + "\n", "utf-8")
        fresh.replace(path)
    else:
        path.unlink(missing_ok=True)
    later(partial(sync, account, HOLDS))


def _read(account: Path) -> dict[str, dict[str, Hold]] | None:
    """By broker and name; {}: there is no file; None: it cannot be read."""
    try:
        said = json.loads(plain_text(account / HOLDS))
        # A file of an earlier version has the rows of one broker: {"broker", "holds"}.
        rows = {said["broker"]: said["holds"]} if "broker" in said else said["brokers"]
        return {
            str(broker): {
                str(name): Hold(REDUCING if row["level"] == REDUCING else HALTED, str(row["reason"]))
                for name, row in of_broker.items()
            }
            for broker, of_broker in rows.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def kill_by_signal(
    account: Path, clock: Clock, who: str, otherwise: Callable[[Latched, str], None] = lambda kill, why: None
) -> None:
    """From now on SIGUSR1 to this process sets the kill latch. otherwise: takes the kill, and why, where the
    file cannot be written; it must be safe in a handler.
    """
    disk.start()

    def latch(number: int, _frame: object) -> None:
        name = signal.Signals(number).name
        kill = Latched(f"{name} to {who}", f"signal {name}", clock.real_ns())
        try:
            set_latch(account, kill.reason, kill.by, kill.at_ns, later=disk)
        except OSError as error:
            otherwise(kill, error.strerror or repr(error))

    signal.signal(SIGNAL, latch)
