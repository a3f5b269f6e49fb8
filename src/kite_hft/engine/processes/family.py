"""Layer 5, supervisor, cold: the processes of a run: started, listened to, started again.

A process that died or hangs is replaced by one that was held in reserve (a spare has imported
everything already). Before that its rings get their next generation: a ring whose writer died is
closed and never written again, readers drain it and go on in the new one (memory/generations.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, Final

from kite_hft.engine.plan.launch import (
    FOLLOWED,
    Run,
    child_config,
    first_kind_of,
    kind_of,
    make_huge,
    prepare_config,
)
from kite_hft.engine.plan.plan import ProcessPlan
from kite_hft.engine.processes.children import Child, start_child
from kite_hft.engine.processes.restarts import Breaker, Restart
from kite_hft.layout import SegmentKind
from kite_hft.memory.generations import forget_parked, next_generation
from kite_hft.memory.header import NoRoom, SegmentError
from kite_hft.memory.segment import attach, unlink
from kite_hft.units import NS_PER_S

START_S: Final = 90.0
LISTEN_S: Final = 0.01
KEEP_NS: Final = 10 * NS_PER_S
"""A closed generation of a ring stays so long for readers that are behind or start again."""
KEEP_INPUTS_NS: Final = 120 * NS_PER_S
"""Of an input log, which is small: a worker that dies again replays from before its first death."""
SPARE_FAILURES_MAX: Final = 3

UNKILLED: Final = (
    "does not end although it is killed: it waits in the kernel, as a rule for a disk or a network file "
    "system that does not answer; look at that, or start the machine anew"
)

STARTING: Final = "starting"
RUNNING: Final = "running"
ENDED: Final = "ended"


class StopAsked(Exception):
    """A stop was asked for while the processes were starting."""


class StartFailed(Exception):
    """A process did not come up; the message says which and what it said."""


@dataclass(slots=True)
class Member:
    """One process of the plan. since_ns: when its state began (CLOCK_MONOTONIC)."""

    plan: ProcessPlan
    child: Child
    state: str
    since_ns: int
    restarts: int = 0
    pending: Restart | None = None
    noticed_ns: int = 0


@dataclass(slots=True)
class Family:
    """All children of a run. say: the view and the log. meanwhile: called all the time while processes are
    waited for, at their start and at their end: what they raise then is not to wait until that is over.
    """

    run: Run
    say: Callable[[str], None]
    meanwhile: Callable[[], None] = lambda: None
    members: dict[str, Member] = field(default_factory=dict)
    history: list[Restart] = field(default_factory=list)
    started_ns: int = 0
    breaker: Breaker = field(init=False)
    _spares: dict[str, Child] = field(default_factory=dict)
    _spare_failures: int = 0
    _spare_number: int = 0
    _left: list[dict[str, Any]] = field(default_factory=list)  # last alerts of those that were replaced
    _retired: list[tuple[Path, int]] = field(default_factory=list)
    _kinds: dict[str, SegmentKind] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = self.run.settings.supervision
        self.breaker = Breaker(chosen.restarts_max, chosen.restarts_window_s)
        self._kinds = {segment.name: segment.kind for segment in self.run.plan.segments}
        self.started_ns = self.run.clock.mono_ns()

    # Starting

    def start(self) -> None:
        """Start all against the flow (ORDERS, compute, feed), each when the one before is ready.

        Raises:
            StartFailed: one did not come up in time; whatever runs must be stopped by the caller.
            StopAsked: a stop was asked for meanwhile.
        """
        # All import side by side; what they become follows in order.
        spawned_ns = self.run.clock.mono_ns()
        processes = reversed(self.run.plan.processes)
        prepared = {p.name: self._new(p.name, first_kind_of(p)) for p in processes}
        for name, child in prepared.items():
            plan = next(p for p in self.run.plan.processes if p.name == name)
            self.members[name] = Member(plan, child, STARTING, self.run.clock.mono_ns())
        for member in self.members.values():
            member.child.become(child_config(self.run, member.plan) | {"spawned_ns": spawned_ns})
            self._await_ready(member)

    def _new(self, name: str, kind: str) -> Child:
        return start_child(name, prepare_config(self.run, kind), list(self.run.wake_fds.values()))

    def _await_ready(self, member: Member) -> None:
        clock, child = self.run.clock, member.child
        deadline = clock.mono_ns() + int(START_S * 1e9)
        while child.ready is None:
            if self.run.stop_asked:
                raise StopAsked
            for other in self.members.values():
                for line in other.child.listen():
                    self.say(line)
            self.meanwhile()
            if child.process.poll() is not None and child.ready is None:
                child.listen()
                raise StartFailed(f"{child.name} ended at its start{last_words(child)}")
            if clock.mono_ns() > deadline:
                raise StartFailed(f"{child.name} was not ready within {START_S:.0f} s")
            sleep(LISTEN_S)
        member.state, member.since_ns = RUNNING, clock.mono_ns()

    # Listening

    def listen(self) -> list[dict[str, Any]]:
        """Hear everybody: log lines are said, alerts returned, each with the name of its `process`."""
        alerts, self._left = self._left, []
        children = [(name, m.child) for name, m in self.members.items()]
        for name, child in [*children, *self._spares.items()]:
            alerts += self._hear(name, child)
        return alerts

    def _hear(self, name: str, child: Child) -> list[dict[str, Any]]:
        for line in child.listen():
            self.say(line)
        alerts = [{**fields, "process": name} for fields in child.alerts]
        child.alerts.clear()
        return alerts

    def filenos(self) -> list[int]:
        """What to wait on for reading."""
        found = (m.child.answers for m in self.members.values() if m.state != ENDED)
        return [answers.fileno() for answers in found if not answers.closed]

    def tell(self, stage: str, message: dict[str, Any]) -> int:
        """Say something to every process with this stage; returns how many took it."""
        return sum(
            member.child.tell(message)
            for member in self.members.values()
            if stage in member.plan.stages and member.state != ENDED
        )

    def died(self) -> list[Member]:
        """Processes that have ended and are not known to have."""
        return [m for m in self.members.values() if m.state != ENDED and m.child.process.poll() is not None]

    def hung(self, beat_ns: Callable[[Member], int], now_ns: int, hung_s: float) -> list[Member]:
        """Processes that live and give no sign of it. beat_ns: the newest heartbeat of a member."""
        found = []
        for member in self.members.values():
            patience_s = hung_s if member.state == RUNNING else START_S
            last_ns = max(beat_ns(member), member.since_ns)
            if member.state != ENDED and now_ns - last_ns > patience_s * NS_PER_S:
                found.append(member)
        return found

    # Starting again

    def restart(self, member: Member, why: str, now_ns: int) -> str:
        """Replace a process that died, or hangs and is killed here; returns why it stays down, or ""."""
        child = member.child
        code = child.kill()
        self._left += self._hear(member.plan.name, child)
        member.pending = None  # a restart that has come to nothing
        child.release()
        if code is None:  # it holds what it writes: another one could not
            member.state, member.since_ns = ENDED, now_ns
            return f"{member.plan.name} {why}, cannot be started again, and {UNKILLED}"
        words = f"{member.plan.name} {_how(why, code)}{last_words(child) if code > 0 else ''}"
        if not self.breaker.allow(member.plan.name, now_ns):
            member.state, member.since_ns = ENDED, now_ns
            self.say(f"{words}; it is not started again")
            most, window_s = self.breaker.most, self.breaker.window_s
            return f"{member.plan.name} {why} more than {most} times in {window_s:g} s"
        self.say(f"{words}; it is started again")
        member.pending = Restart(member.plan.name, (now_ns - self.started_ns) / 1e9, why, code)
        self.history.append(member.pending)
        member.noticed_ns = now_ns
        try:
            self._launch_again(member)
        except (SegmentError, OSError) as error:  # no room in shared memory, no process to be had
            member.state, member.since_ns, member.pending = ENDED, now_ns, None
            return f"{member.plan.name} {why} and cannot be started again: {error}"
        return ""

    def revive(self, now_ns: int, stage: str) -> list[str]:
        """Start what stayed down, after a person has mended it; returns the names."""
        down = [m for m in self.members.values() if m.state == ENDED and stage in m.plan.stages]
        down = [m for m in down if m.child.process.poll() is not None]  # of the others none has ended
        for member in down:
            self.breaker.forget(member.plan.name)
            self.breaker.allow(member.plan.name, now_ns)
            self._launch_again(member)
        return [member.plan.name for member in down]

    def _launch_again(self, member: Member) -> None:
        member.restarts += 1
        self._renew(member.plan)
        kind = kind_of(member.plan)
        spare = self._spares.pop(kind) if kind in self._spares else None
        member.child = spare or self._new(member.plan.name, kind)
        member.child.become(child_config(self.run, member.plan, member.restarts))
        member.state, member.since_ns = STARTING, self.run.clock.mono_ns()

    def tend(self, now_ns: int) -> list[Member]:
        """Everyday work: who has become ready (returned), spares, old generations."""
        ready = []
        for member in self.members.values():
            if member.state == STARTING and member.child.ready is not None:
                member.state, member.since_ns = RUNNING, now_ns
                if member.pending is not None:
                    member.pending.took_s = (now_ns - member.noticed_ns) / 1e9
                    self.say(f"{member.plan.name} is back after {member.pending.took_s:.2f} s")
                    member.pending = None
                ready.append(member)
        self._keep_spares()
        for path, at_ns in list(self._retired):
            if now_ns >= at_ns:
                self._retired.remove((path, at_ns))
                unlink(path)
        return ready

    def _keep_spares(self) -> None:
        """One spare of each kind that the plan has, started only while nothing else starts."""
        if not self.run.settings.supervision.spares or not self.run.settings.supervision.restart:
            return
        for kind, child in list(self._spares.items()):
            if child.process.poll() is not None:
                del self._spares[kind]
                child.release()
                self._spare_failures += 1
        busy = any(m.state == STARTING for m in self.members.values()) or any(
            not child.prepared for child in self._spares.values()
        )
        if busy or self._spare_failures >= SPARE_FAILURES_MAX:
            return
        for kind in sorted({kind_of(process) for process in self.run.plan.processes}):
            if kind not in self._spares:
                self._spare_number += 1
                try:
                    self._spares[kind] = self._new(f"spare-{self._spare_number}", kind)
                except OSError as error:
                    self._spare_failures += 1
                    self.say(f"no process can be held in reserve: {error}")
                return  # one at a time

    def _renew(self, plan: ProcessPlan) -> None:
        """Next generation of every ring that the dead process wrote; its sleep is forgotten."""
        for name in written_by(plan):
            if self._kinds.get(name) in FOLLOWED:
                self._next_generation(name)
        if "compute" in plan.stages:
            self._forget_parked(f"events-{plan.worker}")
            if not any("recorder" in p.stages for p in self.run.plan.processes):
                for number in self.run.plan.workers[plan.worker or 0].connections:
                    self._forget_parked(f"ticks-{number}")
        if "orders" in plan.stages:
            for worker in self.run.plan.workers:
                self._forget_parked(f"intents-{worker.number}")
            for number in self.run.plan.texts:
                self._forget_parked(f"texts-{number}")

    def _next_generation(self, name: str) -> None:
        run, old, kind = self.run, self.run.paths[name], self._kinds[name]
        times = {"now_mono_ns": run.clock.mono_ns(), "now_real_ns": run.clock.real_ns()}
        try:
            run.paths[name] = next_generation(old, kind, **times)
        except NoRoom:
            for path, _ in self._retired:
                unlink(path)
            self._retired.clear()
            run.paths[name] = next_generation(old, kind, **times)
        make_huge(run, run.paths[name])
        keep_ns = KEEP_INPUTS_NS if kind is SegmentKind.INPUT_RING else KEEP_NS
        self._retired.append((old, times["now_mono_ns"] + keep_ns))

    def _forget_parked(self, name: str) -> None:
        with attach(self.run.paths[name], self._kinds[name], writable=True, claim=False) as segment:
            forget_parked(segment)

    # Ending

    def stop(self, stop_s: float) -> bool:
        """Stop in the order of the flow; whoever does not end in time is killed. Whether all ended.

        To close positions ORDERS needs prices and order updates: it ends before the feeds then.
        """
        clean = True
        for spare in self._spares.values():
            self._kill(spare)
            spare.release()
        self._spares.clear()
        order = list(self.run.plan.processes)
        if self.run.stop_policy == "flatten":
            order.sort(key=lambda process: "orders" not in process.stages)
            order.sort(key=lambda process: process.stages != ("compute",))
        failed: set[str] = set()
        for process in order:
            member = self.members.get(process.name)
            if member is None or member.state == ENDED:
                continue
            child = member.child
            child.terminate()
            if not child.wait(stop_s, lambda: self.run.hurry, lambda: self._while_ending(failed)):
                self.say(f"{process.name} did not end in time and was killed")
                self._kill(child)
                clean = False
            for line in child.listen():
                self.say(line)
        return clean

    def _while_ending(self, failed: set[str]) -> None:
        """An error of it, said once, ends no stop: orders would rest, and processes live on."""
        try:
            self.meanwhile()
        except Exception as error:
            if str(error) not in failed:
                failed.add(str(error))
                self.say(f"while the processes end: {str(error) or type(error).__name__}")

    def _kill(self, child: Child) -> None:
        if child.kill() is None:
            self.say(f"{child.name} {UNKILLED}")

    def release(self) -> None:
        """Close every pipe."""
        for member in self.members.values():
            member.child.release()

    def pids(self) -> dict[str, int]:
        found = {name: m.child.process.pid for name, m in self.members.items() if m.state != ENDED}
        return {"supervisor": os.getpid()} | found

    def rows(self) -> list[dict[str, Any]]:
        """Process, state, pid, restarts: for `status`. Spares are shown, too."""
        rows: list[dict[str, Any]] = [
            {
                "process": name,
                "stages": list(m.plan.stages),
                "state": m.state,
                "pid": m.child.process.pid if m.state != ENDED else 0,
                "since_ns": m.since_ns,
                "restarts": m.restarts,
            }
            for name, m in self.members.items()
        ]
        spares = ((kind, child) for kind, child in self._spares.items())
        return rows + [
            {"process": f"spare ({kind})", "stages": [], "state": "ready" if child.prepared else STARTING,
             "pid": child.process.pid, "since_ns": 0, "restarts": 0}
            for kind, child in spares
        ]  # fmt: skip


def written_by(plan: ProcessPlan) -> list[str]:
    """Names of the segments that a process is the one writer of (those it has may be fewer)."""
    names = []
    if "feed" in plan.stages:
        names += [f"{what}-{plan.connection}" for what in ("ticks", "frames", "aux", "counters-feed")]
    if "updates" in plan.stages:
        names += ["updates-ring", f"counters-feed-{plan.connection}"]
    if "compute" in plan.stages:
        names += [f"{what}-{plan.worker}" for what in ("inputs", "counters-compute")]
    return names + [f"counters-{stage}" for stage in ("orders", "recorder") if stage in plan.stages]


def last_words(child: Child) -> str:
    return f": {child.log[-1]}" if child.log else ""


def _how(why: str, code: int) -> str:
    if why == "hung":
        return "hangs and was killed"
    return f"was killed by signal {-code}" if code < 0 else f"ended by itself (exit code {code})"
