"""Cold: one measured run, from a started rig to a Result.

A fixed profile is one schedule of the generator: warm-up, then the steady window between two looks.
Afterwards everything that was sent must have been computed: counts and the checksum of
(token, price, volume), kept by the generator from what it sent and by each stage of the engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from load import lag
from load.look import STRANGERS, Look, Looker, Window
from load.pace import STEP_START_NS, open_board
from load.profiles import Load
from load.rig import Interrupted, Rig, RigError, rig

LOOK_S: Final = 0.2
BARE_RUN_S: Final = 4.0
DRAIN_S: Final = 10.0
STAGES: Final = ("received", "decoded", "published", "computed")

Progress = Callable[[str, float, str], None]
"""(what is being done, share of it, what is seen)"""


@dataclass(slots=True)
class Result:
    """What a run gave, also one that was interrupted."""

    sent: int = 0
    report: dict[str, Any] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)
    steady: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    samples: list[dict[str, Any]] = field(default_factory=list)
    flood: dict[str, Any] = field(default_factory=dict)
    bare: dict[str, Any] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    interrupted: str = ""
    strategy_bytes: int | None = None


@dataclass(slots=True)
class Session:
    """A started rig and its readings."""

    rig: Rig
    looker: Looker
    result: Result
    progress: Progress
    generated: lag.Buckets = field(default_factory=lag.empty)
    cpu_s: float = 0.0
    sent_sum: int = 0

    @classmethod
    def open(cls, rig: Rig, result: Result, progress: Progress) -> Session:
        board = open_board(str(rig.board))
        return cls(rig, Looker.open(rig, board), result, progress)

    def send(
        self, rate: float, seconds: float, watch: Callable[[Look, float], None], every_s: float
    ) -> dict[str, Any]:
        """Have the generator send; `watch` gets a short look each every_s, and the seconds since its start.

        Raises:
            Interrupted: the generator has stopped then, and `result` holds what it said.
            RigError: the engine, or its connection, ended.
        """
        generator = self.rig.generator
        assert generator is not None and self.rig.engine is not None
        step_ns = self.looker.board[STEP_START_NS]
        generator.tell(do="send", rate=rate, seconds=seconds, burst=self.rig.load.burst)
        try:
            while self.looker.board[STEP_START_NS] == step_ns:
                if generator.process.poll() is not None:
                    raise generator.failure("ended")
                time.sleep(0.002)
            start_ns = self.looker.board[STEP_START_NS]
            while (text := generator.line(every_s)) is None:
                self.rig.engine.drain()
                if self.rig.engine.process.poll() is not None:
                    raise self.rig.engine.failure("ended while it was under load")
                look = self.looker.look(usage=False)
                watch(look, (look.at_ns - start_ns) / 1e9)
        except Interrupted:
            generator.tell(do="stop")
            self._told(generator.line(5.0) or "{}")
            raise
        return self._told(text)

    def _told(self, text: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(text)
        if "gone" in found:
            raise RigError(f"a connection of the engine ended under load: {found['gone']}")
        if found:
            found["lag"] = lag.dense(found["lag"])
            self.generated += found["lag"]
            self.cpu_s += found["cpu_s"]
            self.result.sent, self.sent_sum = found["sent"], found["checksum"]
        return found

    def drained(self, most_s: float = DRAIN_S) -> Look:
        """Wait until what was sent is computed or known to be lost; the last look."""
        deadline = time.monotonic() + most_s
        while True:
            look = self.looker.look(usage=False)
            if look.computed + look.lost >= look.sent or time.monotonic() > deadline:
                return look
            time.sleep(0.01)


def run_fixed(session: Session) -> None:
    """Warm-up and steady window of a profile with a fixed rate."""
    load, result = session.rig.load, session.result
    whole_s = load.warm_s + load.duration_s
    ends: list[Look] = []
    next_sample_s = 0.0

    def watch(look: Look, at_s: float) -> None:
        nonlocal next_sample_s
        backlog = look.sent - look.computed - look.lost
        session.progress("load", at_s / whole_s, f"{look.computed:,} computed, {backlog:,} behind")
        if not ends and at_s >= load.warm_s:
            ends.append(session.looker.look())
        if load.memory_s and at_s >= next_sample_s:
            next_sample_s = at_s + load.memory_s
            result.samples.append({
                "at_s": round(at_s, 1), "memory": session.looker.memory(),
                "segments": session.looker.segments(),
            })  # fmt: skip

    found: dict[str, Any] = {}
    try:
        found = session.send(load.rate, whole_s, watch, LOOK_S)
    except Interrupted as interruption:
        result.interrupted = str(interruption)
    session.drained()
    if ends:
        result.steady = Window(ends[0], session.looker.look()).told()
    result.memory = session.looker.memory()
    result.generator = {
        "lag_us": lag.told(session.generated),
        "cpu_s": round(session.cpu_s, 3),
        "of_a_core": session.cpu_s / found["seconds"] if found else None,
        "wanted": round(load.ticks_per_s * whole_s),
        "missed_frames": found.get("missed_frames"),
        "by_connection": found.get("by_connection"),
    }
    if found.get("missed_frames"):
        result.wrong.append(f"{found['missed_frames']:,} frames could not be sent in their time")


def without_strategy(load: Load, progress: Progress) -> int:
    """PSS outside shared memory of the engine's processes with the same load and no strategy, after
    BARE_RUN_S of it.

    Raises:
        RigError, Interrupted: see Session.send.
    """
    progress("no strategy", 0.0, f"{BARE_RUN_S:g} s without a strategy, for the memory of one")
    plain = replace(load, strategy="none", duration_s=BARE_RUN_S, memory_s=0.0)
    result = Result()
    with rig(plain) as running:
        running.start_engine()
        session = Session.open(running, result, lambda what, share, text: None)
        try:
            run_fixed(session)
        finally:
            session.looker.close()
    if result.interrupted:
        raise Interrupted(result.interrupted)
    return own_bytes(result.memory)


def own_bytes(memory: Mapping[str, Mapping[str, int]]) -> int:
    """PSS of the engine's processes outside the run's shared memory."""
    return sum(row["own"] for name, row in memory.items() if name not in STRANGERS)


def judge(result: Result, checksum: int, code: int) -> None:
    """Compare what was sent with what each stage counted; what does not fit goes to `wrong`.

    A search overloads the engine on purpose: what was lost meanwhile is no fault as long as it is
    counted, exactly.
    """
    ticks = result.report.get("ticks", {})
    wrong = result.wrong
    if code:
        wrong.append(f"the engine ended with exit code {code}")
    if not result.sent:
        wrong.append("nothing was sent")
    lost = ticks.get("lost", 0)
    counts = {"sent": result.sent, **{stage: ticks.get(stage) for stage in STAGES}}
    sums = {"sent": f"{checksum:016x}", **ticks.get("checksum", {})}
    if result.flood and lost:
        counts["computed"] = ticks["computed"] + lost
        sums.pop("computed", None)
    elif lost:
        wrong.append(f"{lost:,} ticks lost")
    if len(set(counts.values())) != 1:
        wrong.append(f"counts differ: {counts}")
    if len(set(sums.values())) != 1:
        wrong.append(f"checksums differ: {sums}")
    if any(ticks.get("malformed", {}).values()):
        wrong.append(f"malformed: {ticks['malformed']}")
    if result.report.get("restarts"):
        wrong.append(f"processes were started again: {result.report['restarts']}")
