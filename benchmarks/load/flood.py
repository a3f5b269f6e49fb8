"""Cold: the search for the highest rate that the engine takes without loss.

One engine, one generator, many trials of a few seconds. A trial at a rate holds when in its steady
window (1) nothing was lost, (2) the generator sent all that was due, (3) the backlog, what was due
by the schedule and is not computed, does not grow: over the window its least-squares line rises by
less than 25 ms of the rate, and it never is 250 ms of the rate, and (4) afterwards everything sent
was computed. A rate that does not hold is tried once more: the machine may have been busy.

Bracket: the rate goes up by half until a trial fails (down where the first one does); then
bisection until the bracket is 4 % wide, then 5 % more at a time for as long as that holds (a rate
may have failed for a reason of the machine's). The rate found is run again for the whole duration;
where it does not hold that long, 5 % less is tried. What is reported is that last run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from load import lag
from load.look import Look, Window
from load.measuring import Session
from load.rig import Interrupted

FIRST_TICKS_PER_S: Final = 1_000_000.0
GROW: Final = 1.5
WIDTH: Final = 0.04
CLIMB: Final = 1.05
CLIMBS_MAX: Final = 12
STEP_BACK: Final = 0.95
TRIAL_S: Final = 2.5
TRIALS_MAX: Final = 40
CONFIRMS_MAX: Final = 6
GROWTH_S: Final = 0.025
PEAK_S: Final = 0.25
LOOK_S: Final = 0.05


@dataclass(slots=True)
class Trial:
    """One rate, tried. why: of what it did not hold; "": it held."""

    ticks_per_s: float
    seconds: float
    why: str = ""
    steady: dict[str, Any] = field(default_factory=dict)
    backlog: dict[str, float] = field(default_factory=dict)
    generator: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return not self.why

    def row(self) -> dict[str, Any]:
        """Of the JSON's list of trials."""
        return {
            "ticks_per_s": self.ticks_per_s, "seconds": self.seconds, "holds": self.holds, "why": self.why,
            "delivered_per_s": self.steady.get("ticks_per_s"), "backlog": self.backlog,
        }  # fmt: skip


def try_rate(session: Session, ticks_per_s: float, seconds: float) -> Trial:
    """One trial; the engine is idle before and after it."""
    load = session.rig.load
    rate = ticks_per_s / load.instruments
    start = session.drained()
    trial = Trial(ticks_per_s, seconds)
    ends: list[Look] = []
    behind: list[tuple[float, float]] = []

    def watch(look: Look, at_s: float) -> None:
        if at_s < load.warm_s:
            return
        if not ends:
            ends.append(session.looker.look())
        if at_s <= load.warm_s + seconds:
            done = look.computed - start.computed
            behind.append((at_s, ticks_per_s * at_s - done))
            last = ends[0]
            session.progress(
                "flood", (at_s - load.warm_s) / seconds,
                f"{ticks_per_s:,.0f} ticks/s: {behind[-1][1] / ticks_per_s * 1e3:,.1f} ms behind, "
                f"{look.lost - last.lost:,} lost",
            )  # fmt: skip

    found = session.send(rate, load.warm_s + seconds, watch, LOOK_S)
    if ends:
        trial.steady = Window(ends[0], session.looker.look()).told()
    last = session.drained()
    trial.backlog = backlog_of(behind, ticks_per_s)
    trial.generator = {
        "lag_us": lag.told(found["lag"]), "missed_frames": found["missed_frames"], "cpu_s": found["cpu_s"],
        "of_a_core": found["cpu_s"] / found["seconds"],
    }  # fmt: skip
    trial.why = fault(trial, start, last, found["missed_frames"])
    return trial


def backlog_of(behind: list[tuple[float, float]], ticks_per_s: float) -> dict[str, float]:
    """Slope (share of the rate) and peak (seconds of the rate) of the ticks due and not computed."""
    if len(behind) < 4:
        return {"slope": 0.0, "peak_s": 0.0, "looks": len(behind)}
    at, ticks = np.array(behind, np.float64).T
    slope = float(np.polyfit(at, ticks, 1)[0]) / ticks_per_s
    return {"slope": slope, "peak_s": float(ticks.max()) / ticks_per_s, "looks": len(behind)}


def fault(trial: Trial, start: Look, last: Look, missed: int) -> str:
    """Why a trial does not hold; "" where it does."""
    lost = last.lost - start.lost
    if lost:
        return f"{lost:,} ticks lost"
    if missed:
        return f"{missed:,} frames could not be sent: the engine did not read"
    grown_s = trial.backlog["slope"] * trial.seconds
    if grown_s > GROWTH_S:
        return f"the backlog grew by {grown_s * 1e3:.0f} ms in {trial.seconds:g} s"
    if trial.backlog["peak_s"] > PEAK_S:
        return f"{trial.backlog['peak_s'] * 1e3:.0f} ms behind"
    if last.computed + last.lost < last.sent:
        return f"{last.sent - last.computed - last.lost:,} ticks were never computed"
    return ""


def search(session: Session) -> None:
    """The whole search; fills the result also when it is interrupted."""
    result, load = session.result, session.rig.load
    trials: list[Trial] = []
    best: Trial | None = None
    try:
        low = climb(session, bracket_and_bisect(session, trials), trials)
        best = confirm(session, low, trials)
    except Interrupted as interruption:
        result.interrupted = str(interruption)
        held = [trial for trial in trials if trial.holds]
        best = max(held, key=lambda trial: trial.ticks_per_s, default=None)
    session.drained()
    result.memory = session.looker.memory()
    result.flood = {
        "ticks_per_s": best.ticks_per_s if best else 0.0,
        "seconds": best.seconds if best else 0.0,
        "trials": [trial.row() for trial in trials],
    }
    if best is None:
        result.wrong.append("no rate held")
    else:
        result.steady, result.generator = best.steady, best.generator
        result.flood["backlog"] = best.backlog
    result.generator["wanted"] = round(load.instruments * load.rate) or None


def tried(session: Session, ticks_per_s: float, seconds: float, trials: list[Trial]) -> Trial:
    """The rate's trial, or its second one where the first does not hold."""
    for _ in range(2):
        trial = try_rate(session, ticks_per_s, seconds)
        trials.append(trial)
        session.progress("flood", 1.0, f"{ticks_per_s:,.0f} ticks/s: {trial.why or 'holds'}")
        if trial.holds:
            break
    return trial


def bracket_and_bisect(session: Session, trials: list[Trial]) -> float:
    """The highest rate that held, within WIDTH of one that did not; 0 where none held."""
    load = session.rig.load
    seconds = min(TRIAL_S, load.duration_s)
    rate = load.ticks_per_s or FIRST_TICKS_PER_S
    low, high = 0.0, float("inf")
    while len(trials) < TRIALS_MAX and high > low * (1 + WIDTH):
        trial = tried(session, rate, seconds, trials)
        if trial.holds:
            low = rate
        else:
            high = rate
        if high == float("inf"):
            rate *= GROW
        elif low == 0.0:
            rate /= 4
            if rate < 1000:
                return 0.0
        else:
            rate = (low + high) / 2
    return low


def climb(session: Session, rate: float, trials: list[Trial]) -> float:
    """The highest rate that holds in steps of CLIMB from one that did; each step is tried twice."""
    seconds = min(TRIAL_S, session.rig.load.duration_s)
    for _ in range(CLIMBS_MAX if rate else 0):
        if not tried(session, rate * CLIMB, seconds, trials).holds:
            break
        rate *= CLIMB
    return rate


def confirm(session: Session, rate: float, trials: list[Trial]) -> Trial | None:
    """The rate over the whole duration, or less where it does not hold that long."""
    for _ in range(CONFIRMS_MAX if rate else 0):
        trial = tried(session, rate, session.rig.load.duration_s, trials)
        if trial.holds:
            return trial
        rate *= STEP_BACK
    return None
