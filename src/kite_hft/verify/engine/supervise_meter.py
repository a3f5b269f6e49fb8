"""Layer 6, by hand and CI, cold: reads a running engine from outside, for `verify supervise`.

Counters in shared memory (who has computed, recorded, had an order accepted), the processes as
the supervisor names them, and at the end the broker's orders against those of the journals.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.engine.runs.report import Readings
from kite_hft.engine.runs.runs import RunNote, running
from kite_hft.memory.journal import Kind, scan
from kite_hft.verify.campaign import CampaignError

LOOK_S: Final = 0.002
PATIENCE_S: Final = 20.0


@dataclass(slots=True)
class Meter:
    """One running engine."""

    note: RunNote
    readings: Readings

    @classmethod
    def of(cls, pid: int, seconds: float, alive: Callable[[], bool]) -> Meter:
        """The engine of process `pid`, once it has left its note.

        Raises:
            CampaignError: it does not within the time, or ends.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and alive():
            for note in running():
                if note.pid == pid:
                    paths = Path(note.shm).glob("counters-*.seg")
                    return cls(note, Readings.open({p.name.partition(".")[0]: p for p in paths}))
            time.sleep(0.05)
        raise CampaignError("the engine did not come up; its output tells why")

    def status(self) -> dict[str, Any]:
        """What the supervisor says of its processes; {} while it does not answer."""
        try:
            return ask(Path(self.note.control), {"do": "status"}, 5.0)
        except ControlError:
            return {}

    def processes(self) -> dict[str, dict[str, Any]]:
        return {row["process"]: row for row in self.status().get("processes", [])}

    def settled(self) -> bool:
        """Everything runs, spares are ready, ORDERS is ACTIVE."""
        rows = self.processes()
        spares = [row for name, row in rows.items() if name.startswith("spare")]
        others = [row for name, row in rows.items() if not name.startswith("spare")]
        good = bool(spares) and all(row["state"] == "ready" for row in spares)
        return good and all(row["state"] == "running" for row in others) and self.active()

    def active(self) -> bool:
        return bool(self.readings.one("counters-orders")["state_active"])

    def wait(self, what: Callable[[], bool], why: str, seconds: float) -> float:
        """Seconds until `what`.

        Raises:
            CampaignError: not within the time.
        """
        begun = time.monotonic()
        while not what():
            if time.monotonic() - begun > seconds:
                raise CampaignError(f"no {why} within {seconds:g} s")
            time.sleep(LOOK_S)
        return time.monotonic() - begun

    def strike(self, name: str, number: signal.Signals) -> float:
        """SIGKILL or SIGSTOP a process; seconds until its successor has done its first piece of work.

        That is a tick published and computed, an order accepted (and the state ACTIVE), or a row
        recorded. Counters are read after the old process is gone: what they show more is new.

        Raises:
            CampaignError: nothing of the kind comes.
        """
        process = psutil.Process(self.processes()[name]["pid"])
        begun = time.monotonic()
        process.send_signal(number)
        self.wait(lambda: not alive(process), f"end of {name}", PATIENCE_S)
        self.wait(self._work_of(name), f"work of the new {name}", PATIENCE_S)
        return time.monotonic() - begun

    def _work_of(self, name: str) -> Callable[[], bool]:
        stage, _, number = name.partition("-")
        one = self.readings.one
        if stage == "feed":
            feed, worker = f"counters-feed-{number}", f"counters-compute-{number}"
            published = one(feed)["published"]
            begun: list[int] = []

            def computed() -> bool:
                if not begun and one(feed)["published"] > published:
                    begun.append(one(worker)["computed"])
                return bool(begun) and one(worker)["computed"] > begun[0]

            return computed
        if stage == "compute":
            worker = f"counters-compute-{number}"
            restarts = one(worker)["restarts"]
            replayed: list[int] = []

            def on_its_own() -> bool:
                counters = one(worker)
                if not replayed and counters["restarts"] > restarts:
                    replayed.append(counters["computed"])
                return bool(replayed) and counters["computed"] > replayed[0]

            return on_its_own
        if stage == "updates":
            updates = max(self.readings.of_stage("feed"), key=lambda found: int(found.rpartition("-")[2]))
            heard = one(updates)["texts"]
            return lambda: one(updates)["texts"] > heard
        segment = f"counters-{stage}"
        counter = {"orders": "accepted", "recorder": "rows"}[stage]
        before = one(segment)[counter]
        return lambda: one(segment)[counter] > before and (stage != "orders" or self.active())

    def footprint(self) -> dict[str, int]:
        """What must not grow: descriptors, memory and zombies of the supervisor, files in its folder."""
        supervisor = psutil.Process(self.note.pid)
        zombies = [c for c in supervisor.children() if c.status() == psutil.STATUS_ZOMBIE]
        return {
            "fds": supervisor.num_fds(),
            "rss": supervisor.memory_info().rss,
            "zombies": len(zombies),
            "shm_files": len(os.listdir(self.note.shm)),
        }

    def close(self) -> None:
        self.readings.close()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def compare(orders: list[dict[str, Any]], journals: list[Path]) -> dict[str, Any]:
    """The broker's orders against the journals': by tag, and by the broker's own numbers.

    lost: at the broker, in no journal; or confirmed in a journal, not at the broker. doubled: one
    tag, several orders. unexplained: journalled, not at the broker, and no word why.
    """
    intents: dict[str, tuple[Path, int]] = {}
    confirmed: set[str] = set()
    explained: set[tuple[Path, int]] = set()
    for path in journals:
        for record in scan(path.read_bytes()).records:
            said = json.loads(record.payload)
            if record.kind == Kind.INTENT:
                intents[said["tag"]] = (path, said["no"])
            elif record.kind in (Kind.ANSWER, Kind.RESOLVED, Kind.WITHDRAWN, Kind.REPORT):
                explained.add((path, int(said.get("no", 0))))
                if said.get("call") == "place" and said.get("outcome") == "confirmed":
                    confirmed.add(str(said["order_id"]))
    tags = Counter(tag for order in orders for tag in order["tags"])
    numbers = {order["order_id"] for order in orders}
    missing = {tag for tag in intents if tag not in tags}
    return {
        "orders_at_broker": len(orders),
        "orders_in_journals": len(intents),
        "lost": sorted({tag for tag in tags if tag not in intents} | (confirmed - numbers)),
        "doubled": sorted(tag for tag, n in tags.items() if n > 1),
        "never_reached_broker": len(missing),
        "unexplained": sorted(tag for tag in missing if intents[tag] not in explained),
    }
