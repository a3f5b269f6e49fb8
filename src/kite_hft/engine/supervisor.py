"""Layer 5, supervisor, cold: one run from configuration to report.

Order of a start: instruments, plan, room in shared memory, segments, ORDERS (which must be ACTIVE
before anything can be traded), then market data and strategies. Order of a stop: market data and
strategies, so that no new intent arises; ORDERS, which cancels what should not rest and says what
stays open; the simulator; the shared memory.

In between: a process that dies or hangs is started again (engine/processes/family.py), unless it does so too
often: then nothing opens any more (ORDERS is told to halt), or, where it is ORDERS itself, the run
ends in order. The simulator is not started again. Alerts are told and journalled; requests of the
command line are answered.
"""

from __future__ import annotations

import contextlib
import json
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Any, Final

from kite_hft.engine.alerts.alerting import Alerting
from kite_hft.engine.alerts.judges import feed_trouble
from kite_hft.engine.alerts.sinks.making import close_s, make_sinks, secrets_of
from kite_hft.engine.alerts.upkeep import Upkeep
from kite_hft.engine.orders.evidence import EVIDENCE
from kite_hft.engine.plan.days import sessions_now
from kite_hft.engine.plan.launch import SHM, Run, child_config, prepare, release, wanted_slots
from kite_hft.engine.plan.rooms import answer_gap_s
from kite_hft.engine.processes.control import SOCKET_NAME, ControlServer
from kite_hft.engine.processes.family import RUNNING, Family, Member, StartFailed, StopAsked, last_words
from kite_hft.engine.processes.halting import OwedHalt, OwedReturns
from kite_hft.engine.processes.steering import Steering
from kite_hft.engine.runs.recount import recount_run
from kite_hft.engine.runs.report import Readings, make_report, processes
from kite_hft.engine.runs.sample import take_sample
from kite_hft.engine.runs.steps import StepLog
from kite_hft.trading.alerts import Alert
from kite_hft.trading.market_halt import HaltWatch, sample_of
from kite_hft.units import NS_PER_S

__all__ = ["SHM", "Run", "child_config", "prepare", "release", "supervise", "wanted_slots", "write_report"]

STOP_S: Final = 20.0
FLATTEN_S: Final = 60.0
LOOK_MS: Final = 50
ENDING_S: Final = 0.02
JUDGE_EVERY_NS: Final = 500_000_000
SHOW_EVERY_NS: Final = 250_000_000

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 4


@dataclass(slots=True)
class Watch:
    """The supervisor's loop while the engine trades."""

    run: Run
    family: Family
    readings: Readings
    alerting: Alerting
    control: ControlServer
    upkeep: Upkeep
    next_show_ns: int = 0
    next_judge_ns: int = 0
    troubled: set[str] = field(default_factory=set)
    gap_s: float = field(init=False)  # a feed that asks for prices is silent so long between two answers
    halts: HaltWatch = field(init=False)
    owed: OwedHalt = field(init=False)
    returns: OwedReturns = field(init=False)
    steps: StepLog = field(init=False)
    hours: tuple[int, int] | None = None
    looked_ns: int = 0
    awake_ns: int = 0  # since then we ourselves have not stood still

    def __post_init__(self) -> None:
        settings = self.run.settings
        self.gap_s = answer_gap_s(settings)
        self.halts = HaltWatch(round((settings.alerts.market_halt_s + self.gap_s) * 1e9))
        self.owed = OwedHalt(lambda message: self.family.tell("orders", message))
        self.returns = OwedReturns(self.owed.tell)
        self.steps = StepLog(self.run.view.say, len(self.run.plan.connections))
        if sessions := sessions_now(settings, self.run.instruments, self.run.clock.real_ns()):
            self.hours = int(sessions[0].min()), int(sessions[1].max())

    def until_the_end(self, duration_s: float | None) -> int:
        """Until the time is over, a stop is asked for, or nothing can go on; returns the exit code."""
        started_ns = self.run.clock.mono_ns()
        while True:
            now_ns = self.run.clock.mono_ns()
            code = self._look(now_ns)
            if code is not None:
                return code
            if now_ns >= self.next_show_ns:
                self.next_show_ns = now_ns + SHOW_EVERY_NS
                self.steps.look(self.readings)
                standing = self.alerting.standing()
                self.run.view.show(take_sample(self.readings, now_ns, standing))
            if self.run.stop_asked:
                self.run.view.say(f"stopping: {self.run.stop_asked}")
                return EXIT_OK
            if duration_s is not None and now_ns - started_ns >= duration_s * 1e9:
                return EXIT_OK
            if self.run.session.ended():
                self.run.view.say("the simulator has ended")
                return EXIT_OK if self.run.session.ended_well() else EXIT_FAILED
            self._wait()

    def _wait(self) -> None:
        """Until somebody says something, at most LOOK_MS."""
        poll = select.poll()
        for fd in [*self.family.filenos(), *self.control.filenos(), *self.upkeep.filenos()]:
            poll.register(fd, select.POLLIN)
        if any(flags & ~select.POLLIN for _fd, flags in poll.poll(LOOK_MS)):
            sleep(ENDING_S)  # a process that has closed its pipe is about to end

    def _look(self, now_ns: int) -> int | None:
        """One round; an exit code when the run cannot go on."""
        hung_s = self.run.settings.supervision.hung_s
        if now_ns - self.looked_ns > hung_s / 2 * NS_PER_S:  # so has everybody, maybe: the whole machine
            self.awake_ns = now_ns
        self.looked_ns = now_ns
        self._hear()
        self._hand_on_kills()
        for member in self.family.died():
            if (code := self._replace(member, "died", now_ns)) is not None:
                return code
        for member in self.family.hung(self._beat_ns, now_ns, hung_s):
            if (code := self._replace(member, "hung", now_ns)) is not None:
                return code
        for member in self.family.tend(now_ns):
            self._tell_orders(member, now_ns)
        if now_ns >= self.next_judge_ns:
            self.next_judge_ns = now_ns + JUDGE_EVERY_NS
            self._judge(now_ns)
        self.upkeep.look(now_ns, self._orders, self.troubled, in_session=self._in_session())
        self.alerting.poll()
        self.control.serve()
        return None

    def _hear(self) -> None:
        for fields in self.family.listen():
            self.alerting.take(fields)

    def _hand_on_kills(self) -> None:
        """A kill by a signal to this process that no file takes: ORDERS remembers it."""
        while kills := self.run.kills:
            if not self.family.tell("orders", {"do": "kill", "reason": kills[0].reason, "flatten": False}):
                return  # it is being started anew
            del kills[0]

    def _orders(self) -> dict[str, int]:
        return self.readings.one("counters-orders")

    def _orders_beat_ns(self) -> int:
        """The newest sign of life of an ORDERS that runs; 0: none does."""
        runs = any("orders" in m.plan.stages and m.state == RUNNING for m in self.family.members.values())
        segment = self.readings.segments.get("counters-orders")
        return int(segment.control()["heartbeat_ns"]) if runs and segment is not None else 0

    def _in_session(self) -> bool:
        """Whether the market that we see is open."""
        return self.hours is None or self.hours[0] <= self.run.clock.real_ns() < self.hours[1]

    def _tell_orders(self, back: Member, now_ns: int) -> None:
        """What ORDERS must know of a process that was started again, or what it forgot itself."""
        self.alerting.returned(back.plan.name)
        if "compute" in back.plan.stages:
            self.returns.returned(int(back.plan.worker or 0), now_ns)
        if "orders" in back.plan.stages and self.halts.halted:
            self.family.tell("orders", {"do": "market_halt", "on": True})
        if "orders" in back.plan.stages:
            self.owed.again()
            self.returns.again(now_ns)

    def _beat_ns(self, member: Member) -> int:
        """The newest sign of life in the counters that a process writes; all its stages must beat. Nobody is
        blamed for the time in which we stood still ourselves.
        """
        plan = member.plan
        of_stage = {"feed": plan.connection, "compute": plan.worker}
        beats = []
        for stage in ("feed",) if plan.stages == ("updates",) else plan.stages:
            number = of_stage.get(stage)
            segment = self.readings.segments.get(
                f"counters-{stage}" + ("" if number is None else f"-{number}")
            )
            if segment is not None:
                beats.append(int(segment.control()["heartbeat_ns"]))
        return max(self.awake_ns, min(beats, default=self.run.clock.mono_ns()))

    def _replace(self, member: Member, why: str, now_ns: int) -> int | None:
        """Start a process again; an exit code when the run must end instead."""
        name, chosen = member.plan.name, self.run.settings.supervision
        if not chosen.restart:
            return self._end_with(member, why)
        down = self.family.restart(member, why, now_ns)
        self._hear()  # what it raised last was its own: before that is over
        kept = self.alerting.replaced(name)
        if not down:
            if "orders" in member.plan.stages:  # before it reads a book that ends one of them
                for told in kept:
                    self.family.tell("orders", {"do": "alert", **told.fields(), "standing": True})
            what = "gave no sign of life" if why == "hung" else "died"
            code = "PROCESS_HUNG" if why == "hung" else "PROCESS_RESTARTED"
            ended = self.family.history[-1].exit_code
            self.alerting.raise_(code, name, f"{name} {what} (exit code {ended}); it is started again")
            return None
        self.alerting.raise_("CRASH_LOOP", name, down)
        if "orders" in member.plan.stages:
            self.run.view.say("without its order process the run ends; what rests at the broker stays there")
            return EXIT_FAILED
        if member.plan.stages != ("recorder",):  # nothing trades by its file
            self.owed.halt(down)
        return None

    def _end_with(self, member: Member, why: str) -> int:
        """Restarts are switched off: the first process that fails ends the run."""
        child = member.child
        if why == "hung":
            hung_s = self.run.settings.supervision.hung_s
            self.run.view.say(f"{member.plan.name} hangs: no sign of life for {hung_s:g} s")
            self.run.hurry = True
        else:
            code = child.process.returncode
            self.run.view.say(f"{member.plan.name} ended by itself (exit code {code}){last_words(child)}")
        return EXIT_FAILED

    def _judge(self, now_ns: int) -> None:
        """Conditions that only somebody beside the processes can see."""
        self.owed.look(self._orders())
        self.returns.look(self._orders_beat_ns(), now_ns)
        silence_s = self.run.settings.alerts.feed_silence_s
        for name, member in self.family.members.items():
            if not {"feed", "updates"} & set(member.plan.stages):
                continue
            trouble = feed_trouble(
                self.readings.one(f"counters-feed-{member.plan.connection}"), now_ns,
                silence_s + (self.gap_s if "feed" in member.plan.stages else 0.0),
                alive_since_ns=member.since_ns, down=member.state != RUNNING,
            )  # fmt: skip
            if trouble:
                what = "order updates" if name == "updates" else f"connection {member.plan.connection}"
                self.alerting.raise_("FEED_DEAD", name, f"{what}: {trouble}")
                self.troubled.add(name)
            elif name in self.troubled:
                self.troubled.discard(name)
                self.alerting.clear("FEED_DEAD", name)
        self._judge_market(now_ns)

    def _judge_market(self, now_ns: int) -> None:
        """A silent market is none of ours to trade in: ORDERS is told, and told when it is over."""
        if not self._in_session():
            return
        feeds = [self.readings.one(name) for name in self.readings.of_stage("feed")]
        was, on = self.halts.halted, self.halts.look([sample_of(counters) for counters in feeds], now_ns)
        if on:
            self.alerting.raise_("MARKET_HALT", "", "no instrument ticks while the connections live")
        if on == was:
            return
        self.family.tell("orders", {"do": "market_halt", "on": on})
        if not on:
            self.alerting.clear("MARKET_HALT", "")


@contextlib.contextmanager
def signals() -> Iterator[list[Run]]:
    """SIGINT, SIGTERM and SIGHUP (the terminal was closed) ask for an orderly stop; a second one hurries.

    What is yielded gets the run as soon as there is one; before that they raise KeyboardInterrupt.
    """
    runs: list[Run] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        if not runs:
            raise KeyboardInterrupt
        runs[0].hurry = bool(runs[0].stop_asked)
        runs[0].stop_asked = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in STOPPING}
    try:
        yield runs
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def make_alerting(run: Run, family: Family) -> Alerting:
    """The alerts of the run; each is also handed to ORDERS, for the journal."""

    def journal(told: Alert) -> None:
        family.tell("orders", {"do": "alert", **told.fields()})

    session = run.session
    about = {"broker": run.settings.broker, "account": run.settings.account, "run": run.folder.name}
    chosen, folder = run.settings.alerts, run.folder.path
    config = chosen.model_dump(mode="json")

    def seen(told: Alert, number: int, by: str) -> None:
        command = {"do": "acknowledge", "code": told.code, "key": told.key, "number": number, "by": by}
        family.tell("orders", {"do": "command", "command": command})

    return Alerting(
        folder, make_sinks(config, folder, run.clock), run.clock, run.view.say, chosen.remind_s,
        close_s(config), about,
        (*session.secrets(), *secrets_of(config)), journal, seen,
    )  # fmt: skip


def journal_morning(run: Run, family: Family) -> None:
    """What the morning of the day has said goes into the order journal."""
    found = run.morning
    if found is not None:
        command = {"do": "morning", "verdict": found.verdict, "time": found.time, "accepted": found.accepted,
                   "by": found.by}  # fmt: skip
        family.tell("orders", {"do": "command", "command": command})


def supervise(run: Run, duration_s: float | None) -> tuple[int, dict[str, Any]]:
    """Start, watch, stop in order; returns (exit code, report)."""
    readings = Readings.open(run.paths)
    family = Family(run, run.view.say)
    alerting = make_alerting(run, family)
    upkeep = Upkeep(run, family, alerting)
    control = ControlServer(run.shm / SOCKET_NAME, Steering(run, family, alerting, upkeep).handle)
    started_ns = run.clock.mono_ns()
    code = EXIT_FAILED

    def meanwhile() -> None:
        for fields in family.listen():
            alerting.take(fields)
        upkeep.hear(run.clock.mono_ns())
        alerting.poll()

    family.meanwhile = meanwhile
    memory: dict[str, Any] = {}
    cpu: dict[str, Any] = {}
    try:
        family.start()
        started_ns = family.started_ns = run.clock.mono_ns()
        upkeep.start()
        journal_morning(run, family)
        code = Watch(run, family, readings, alerting, control, upkeep).until_the_end(duration_s)
    except StopAsked:
        run.view.say(f"stopping: {run.stop_asked}")
        code = EXIT_OK
    except StartFailed as error:
        run.view.say(f"not started: {error}")
    finally:
        duration = (run.clock.mono_ns() - started_ns) / 1e9
        memory, cpu = processes(family.pids() | upkeep.pids())
        run.view.end()
        control.close()
        if not stop(run, family):
            code = EXIT_FAILED
        for fields in family.listen():
            alerting.take(fields)
        upkeep.close()
        family.release()
        alerting.close(sleep, lambda: run.hurry and bool(run.stop_asked))  # and not for a process that hung
    report = make_report(
        readings,
        {name: member.child.part or {} for name, member in family.members.items()},
        mode=run.settings.mode,
        duration_s=duration,
        memory=memory,
        cpu=cpu,
        shm_bytes={name: path.stat().st_size for name, path in run.paths.items()},
        absence_horizon_s=run.settings.trading.absence_horizon_s,
        restarts=[restart.row() for restart in family.history],
        alerts=alerting.report() | {"watchdog": upkeep.report()},
        fills=run.session.fills,
        placing=placing_part(run, family),
        egress=recount_run(run.folder.path / EVIDENCE, run.settings.trading.rules),
    )
    readings.close()
    try:
        write_report(run.folder.path / "report.json", report)
    except OSError as error:
        run.view.say(f"report.json could not be written: {error.strerror}")
        code = EXIT_FAILED
    return code, report


def placing_part(run: Run, family: Family) -> dict[str, Any]:
    """How the processes wait and where they run, as they said; and what was tried for the memory."""
    rows: dict[str, Any] = {name: member.child.placed for name, member in family.members.items()}
    return rows | ({"shared memory": {"huge_pages": run.huge_pages}} if run.huge_pages else {})


def stop(run: Run, family: Family) -> bool:
    """End all processes in order, with the policy that was asked for. Whether all ended by themselves."""
    if run.stop_policy:
        family.tell("orders", {"do": "stop_policy", "policy": run.stop_policy})
    family.tell("orders", {"do": "open_no_more"})
    return family.stop(FLATTEN_S if run.stop_policy == "flatten" else STOP_S)


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(report, indent=2) + "\n")
    fresh.replace(path)
