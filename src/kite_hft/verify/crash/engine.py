"""Layer 6, by hand and CI, cold: the engine of `verify crash`: started, killed, and seen to trade again.

Whoever dies must be back: by its supervisor, or, when that died, by the next engine, which goes on from the
journals of the one before. Back means: all processes run, ORDERS is ACTIVE, another order was accepted.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

from kite_hft.engine.processes.control import ControlError, ask
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.verify.brokers.told import account_of, too_many
from kite_hft.verify.campaign import CampaignError, show_progress
from kite_hft.verify.crash.count import recount
from kite_hft.verify.crash.points import SUPERVISOR, Area, Point, points_of
from kite_hft.verify.engine.supervise_meter import Meter, alive

ACCOUNT: Final = f"VERIFYCRASH{os.getpid()}"
START_S: Final = 120.0
FIRE_S: Final = 15.0
SLOW_FIRE_S: Final = 60.0
"""So long a point may stay unpassed while the engine trades; and where it trades by the broker's limits."""
RECOVER_S: Final = 90.0
GONE_S: Final = 30.0
PUSHES: Final = {"restart": signal.SIGKILL, "kill": signal.SIGUSR1}
"""Trigger of a point -> what the order process is sent, so that somebody passes it."""
TRIES: Final = 3
LEAKED_FDS_MAX: Final = 4


@dataclass(slots=True)
class Kill:
    """One kill. point None: anywhere. took: seconds from the death to an order that was accepted."""

    role: str
    point: Point | None = None
    took: float = 0.0

    @property
    def title(self) -> str:
        return self.point.title if self.point else f"{self.role}:anywhere"


@dataclass(slots=True)
class Campaign:
    """Simulator and engine, and what came of the kills."""

    horizon_s: float
    folder: Path
    api: str
    area: Area
    environment: dict[str, str]
    chance: random.Random
    broker: BrokerSide
    table: InstrumentTable  # the simulator's
    own_limits: bool = False
    done: list[Kill] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    unreached: list[str] = field(default_factory=list)
    runs: list[tuple[int, Path]] = field(default_factory=list)
    shm: list[Path] = field(default_factory=list)
    cut: set[int] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)
    fds: int = 0
    pushed: int = 0  # deaths that let another process pass its point
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)  # of the engine's processes
    engine: subprocess.Popen[bytes] = field(init=False)
    meter: Meter = field(init=False)

    # The engine

    def start(self) -> None:
        """The engine, trading.

        Raises:
            CampaignError: it does not come up.
        """
        command = [sys.executable, "-m", "kite_hft.engine", "--plain"]
        command += ["--config", str(self.folder / "config.yaml")]
        with (self.folder / "engine.out").open("ab") as out:
            self.engine = subprocess.Popen(command, stdout=out, stderr=out, env=self.environment)
        self.meter = Meter.of(self.engine.pid, START_S, lambda: self.engine.poll() is None)
        note = self.meter.note
        self.runs.append((self.engine.pid, Path(note.folder)))
        self.shm.append(Path(note.shm))
        self.recover(START_S)
        self.fds = self.meter.footprint()["fds"]

    def accepted(self) -> int:
        return self.meter.readings.one("counters-orders")["accepted"]

    def recover(self, seconds: float) -> None:
        """Until all run, ORDERS is ACTIVE, and another order is accepted.

        Raises:
            CampaignError: not within the time.
        """
        end = time.monotonic() + seconds
        before = -1
        while True:
            if self.engine.poll() is not None:
                raise CampaignError(f"the engine ended by itself (exit code {self.engine.returncode})")
            if self.killed_latch().exists():
                self.resume()
            elif self.meter.active():
                before = self.accepted() if before < 0 else before
                if self.accepted() > before and self.all_run():
                    return
            else:
                before = -1
            if time.monotonic() > end:
                raise CampaignError(f"no trading again within {seconds:g} s: {self.meter.status()}")
            time.sleep(0.01)

    def all_run(self) -> bool:
        rows = self.meter.processes()
        return bool(rows) and all(
            row["state"] == "running" for name, row in rows.items() if not name.startswith("spare")
        )

    def processes(self) -> dict[str, dict[str, Any]]:
        """The engine's processes by its own word; on a busy machine it takes a while to answer.

        Raises:
            CampaignError: it does not within the time.
        """
        end = time.monotonic() + GONE_S
        while not (rows := self.meter.processes()):
            if time.monotonic() > end:
                raise CampaignError(f"the supervisor has not answered for {GONE_S:g} s")
            time.sleep(0.05)
        return rows

    def killed_latch(self) -> Path:
        return self.folder / f"kite_hft/{self.broker.name}-{ACCOUNT}/KILL"

    def resume(self) -> None:
        """A person lets the account go on after a kill; it may take more than one word."""
        with contextlib.suppress(ControlError):
            ask(Path(self.meter.note.control), {"do": "resume", "strategy": None, "by": "verify crash"}, 5.0)
        time.sleep(0.05)

    def pid_of(self, role: str) -> int:
        """The process whose name begins so.

        Raises:
            CampaignError: there is none.
        """
        if role == SUPERVISOR:
            return self.engine.pid
        found = [row["pid"] for name, row in self.processes().items() if name.startswith(role)]
        if not found:
            raise CampaignError(f"no process {role}")
        return int(self.chance.choice(sorted(found)))

    # Killing

    def kill(self, kill: Kill) -> bool:
        """Carry it out, and wait until the engine trades again; False: the point was not passed."""
        died = self.at_point(kill.point) if kill.point else self.anywhere(kill.role)
        if not died:
            return False
        begun = time.monotonic()
        self.revive(kill.role == SUPERVISOR)
        kill.took = time.monotonic() - begun
        self.done.append(kill)
        return True

    def anywhere(self, role: str) -> int:
        time.sleep(self.chance.uniform(0.0, 0.3))
        pid = self.pid_of(role)
        os.kill(pid, signal.SIGKILL)
        return pid

    def at_point(self, point: Point) -> int:
        """Arm it, do what lets it be passed, wait; the pid that died, 0: none did."""
        left = self.chance.randint(0, point.passages)
        role = f"#{self.engine.pid}" if point.role == SUPERVISOR else point.role
        orders = self.pid_of("orders") if point.trigger in PUSHES else 0  # it may fire as soon as it is armed
        if point.trigger == "tear":
            cut = self.chance.choice(["journal_write_torn_head", "journal_write_torn_payload"])
            self.area.arm(Point("orders", cut).number, left, role, then=point.number)
        else:
            self.area.arm(point.number, left, role)
        self.pushed += point.trigger in ("restart", "tear")
        if orders:
            with contextlib.suppress(ProcessLookupError):
                os.kill(orders, PUSHES[point.trigger])
        pid = self.await_fire()
        self.area.disarm()
        return pid

    def await_fire(self) -> int:
        end = time.monotonic() + (SLOW_FIRE_S if self.own_limits else FIRE_S)
        while not (pid := self.area.fired()):
            if time.monotonic() > end or self.engine.poll() not in (None, -signal.SIGKILL):
                return 0
            time.sleep(0.001)
        return pid

    def revive(self, supervisor_died: bool) -> None:
        """The engine recovers by itself; where its supervisor died a new one is started."""
        if not supervisor_died:
            self.recover(RECOVER_S)
            return
        children = self.children
        self.engine.wait()
        self.cut.add(self.engine.pid)
        self.meter.close()
        if self.chance.random() < 0.5:  # else the next engine has to wait for them
            _gone, living = psutil.wait_procs(children, timeout=GONE_S)
            if left := [child.pid for child in living if alive(child)]:
                self.wrong.append(f"children {left} outlived their supervisor by {GONE_S:g} s")
        self.start()
        if left := [child.pid for child in children if alive(child)]:
            self.wrong.append(f"a new engine runs beside children {left} of the one before")

    @property
    def children(self) -> list[psutil.Process]:
        """All processes of the engine."""
        found = []
        for row in self.rows.values():
            try:
                found.append(psutil.Process(int(row["pid"])))
            except psutil.NoSuchProcess:
                continue
        return found

    # All of it

    def all_kills(self, kills: list[Kill]) -> None:
        """One after the other; a point that is not passed is tried again, and told in the end.

        Raises:
            CampaignError: the engine does not trade again.
        """
        begun = time.monotonic()
        for number, kill in enumerate(kills):
            self.rows = self.processes()
            tries = 0
            while not self.kill(kill) and (tries := tries + 1) < TRIES:
                self.recover(RECOVER_S)
            if tries >= TRIES:
                self.unreached.append(kill.title)
            self.kinds[kill.title] += tries < TRIES
            self.judge_footprint(kill)
            show_progress(number + 1, len(kills), f"{time.monotonic() - begun:.0f} s")

    def judge_footprint(self, kill: Kill) -> None:
        now = self.meter.footprint()
        if now["zombies"]:  # a process that has just died is one until the supervisor has looked
            time.sleep(0.5)
            now = self.meter.footprint()
        if now["zombies"]:
            self.wrong.append(f"{now['zombies']} zombies after {kill.title}")
        if now["fds"] > self.fds + LEAKED_FDS_MAX:
            self.wrong.append(f"descriptors of the supervisor: {self.fds} -> {now['fds']} after {kill.title}")
            self.fds = now["fds"]

    def finish(self) -> dict[str, Any]:
        """Stop in order, then count everything again."""
        time.sleep(2 * self.horizon_s)  # nothing is of unknown fate then
        self.meter.close()
        if code := end(self.engine):
            self.wrong.append(f"the engine ended with exit code {code}")
        if left := [str(path) for path in self.shm if path.exists()]:
            self.wrong.append(f"shared memory left behind: {left}")
        if n := too_many(self.api):
            self.wrong.append(f"{n} calls were refused for their number")
        told = account_of(self.broker, self.api, self.table)
        found = recount(told, self.runs, self.folder / "asked.jsonl", self.cut)
        for name in ("lost", "doubled", "unexplained"):
            if found[name]:
                self.wrong.append(f"{len(found[name])} {name}: {found[name][:3]}")
            found[name] = len(found[name])
        return found

    def told(self) -> dict[str, Any]:
        """The measurements, for the JSON line."""
        took: dict[str, list[float]] = {}
        for kill in self.done:
            took.setdefault(kill.role, []).append(kill.took)
        return {
            "kills": len(self.done),
            "deaths": len(self.done) + self.pushed,
            "by_process": dict(Counter(kill.role for kill in self.done)),
            "by_point": dict(sorted(self.kinds.items())),
            "points_of": len(points_of(self.broker.name)),
            "unreached": self.unreached,
            "recovery_s": {
                role: {"median": round(sorted(times)[len(times) // 2], 2), "max": round(max(times), 2)}
                for role, times in sorted(took.items())
            },
            "engines": len(self.runs),
        }


def end(engine: subprocess.Popen[bytes]) -> int:
    """Stop the engine in order, or at once when it does not; its exit code."""
    engine.send_signal(signal.SIGTERM)
    try:
        return engine.wait(90)
    except subprocess.TimeoutExpired:
        engine.kill()
        return engine.wait()
