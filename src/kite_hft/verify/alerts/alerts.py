"""Layer 6, by hand and CI, cold: `verify alerts`: every required alert reaches a person in time, by every
way there is.

Starts the simulator and an engine that trades on it. Faults come one after another, real ones: of the
simulator, of a person who trades at the broker by hand, of a disk that takes no more (RLIMIT_FSIZE of the
order process), of kill -9. For each, and for each sink (the command, a webhook, Telegram, the system's
journal: receivers of our own, with logs of their own), the time from the fault to the alert's arrival is
measured. Each alert must stand in alerts.jsonl before anybody got it, and reach each sink once. One
condition is followed through its life: reminded of until it is acknowledged, quiet then, told when it
grows worse, over; a sink that fails is told by the others. The heartbeat must beat while the engine is
well, and at no other time. Times that belong to a condition itself (a position must be old before it is
stale; a flatten must have failed) are allowed on top and shown.
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.alerts.files import read_alerts
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.alerts.bench import (
    BLIND_S,
    LOOK_S,
    REMIND_S,
    SINKS,
    Bench,
    bench,
)
from kite_hft.verify.brokers.choosing import add_broker
from kite_hft.verify.campaign import CampaignError

PATIENCE_S: Final = 10.0
INJECTED_MAX: Final = 3
FLATTEN_GIVEN_UP_S: Final = 45.0
BIG: Final = 4000  # shares of some 800 rupees: above the limit of what may be unprotected

Act = Callable[[Bench], None]


@dataclass(frozen=True, slots=True)
class Case:
    """One fault and the codes of the alerts that it must raise.

    act: what makes the fault, when it is none of the simulator's. after: brings things back in order.
    position: something must be held before. settle_s: until the fault is over. again_s: when no alert
    came after so long, inject once more; 0: never (the desk's order may cross an exit of ours: nothing
    of ours was closed then, and no alert is due). allow_s: belongs to the condition itself.
    """

    codes: tuple[str, ...]
    fault: dict[str, Any] = field(default_factory=dict)
    act: Act | None = None
    after: Act | None = None
    position: bool = False
    settle_s: float = 1.0
    again_s: float = 0.0
    allow_s: float = 0.0


def disk_full(bench: Bench) -> None:
    """The journal's file takes no more bytes, as on a disk without room."""
    pid = bench.pid_of("orders")
    size = (bench.run_folder() / "journal.bin").stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, size))


def kill_by_file(bench: Bench) -> None:
    """The kill latch, set by hand."""
    (bench.run_folder().parent.parent / "KILL").touch()


def buy_much(bench: Bench) -> None:
    bench.trade("BUY", BIG)


def flatten_refused(bench: Bench) -> None:
    """Close everything, while the exchange takes no order."""
    bench.inject({"kind": "market_halt", "for": 300.0})
    bench.ended = True
    bench.kite_hft("stop", "--flatten", "--yes", "--wait", "0")


def shoot_supervisor(bench: Bench) -> None:
    bench.ended = True
    bench.engine.send_signal(signal.SIGKILL)


SESSIONS: Final[tuple[tuple[Case, ...], ...]] = (
    (
        Case(("AMBIGUOUS_ORDER",), {"kind": "accept_then_drop", "request": "place"}),
        Case(("BROKER_ACTED",), {"kind": "rms_order"}, position=True, again_s=8.0),
        Case(("FEED_DEAD",), {"kind": "silence", "connection": 0, "for": 6.0}, settle_s=4.0),
        Case(("TOKEN_DEAD", "WATCHDOG_BLIND"), {"kind": "token_death"}, after=Bench.log_in, allow_s=BLIND_S),
        Case(
            ("MARKET_HALT", "STALE_POSITION"),
            {"kind": "market_halt", "for": 6.0},
            position=True,
            settle_s=6.0,
        ),
        Case(("NAKED_POSITION",), act=buy_much),
        Case(("ENGINE_GONE",), act=shoot_supervisor),
    ),
    (
        Case(("REJECT_STORM",), {"kind": "margin_reject", "count": 40}),
        Case(("JOURNAL_FAILED",), act=disk_full),
        Case(("KILLED",), act=kill_by_file),
    ),
    (Case(("NOT_FLAT",), act=flatten_refused, position=True, allow_s=FLATTEN_GIVEN_UP_S),),
)
"""Each session is an engine of its own: what comes last in one cannot be taken back."""
INSTEAD: Final = {("upstox", "AMBIGUOUS_ORDER"): {"kind": "http_503", "request": "place"}}
"""Faults in place of those above. Upstox tells of an order as soon as he has it: where that comes before the
connection is cut, nothing is in doubt and no alert is due."""
SHORT: Final = (Case(("NAKED_POSITION",), act=buy_much), Case(("ENGINE_GONE",), act=shoot_supervisor))
"""For CI: with the life of a condition, a minute less."""


@dataclass(slots=True)
class Outcome:
    """What came of one alert. latency_s: by sink; None: it did not arrive in the time."""

    code: str
    allow_s: float = 0.0
    latency_s: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(SINKS))
    journalled: bool = False
    injected: int = 1

    @property
    def arrived(self) -> bool:
        return None not in self.latency_s.values()

    def row(self) -> dict[str, Any]:
        """For the JSON line."""
        times = {sink: None if s is None else round(s, 3) for sink, s in self.latency_s.items()}
        return {"code": self.code, "latency_s": times, "allowed_on_top_s": self.allow_s,
                "journalled": self.journalled, "injected": self.injected}  # fmt: skip


def carry_out(case: Case, on: Bench, within_s: float) -> list[Outcome]:
    """Inject one fault and wait for its alerts at every sink, somewhat longer than allowed."""
    outcomes = [Outcome(code, case.allow_s) for code in case.codes]
    for attempt in range(1, INJECTED_MAX + 1 if case.again_s else 2):
        if case.position:
            on.until(lambda s: len(s.get("positions", ())) >= 1, "a position")
        strike(outcomes, case, on, case.again_s or within_s + case.allow_s + PATIENCE_S)
        for outcome in outcomes:
            outcome.injected = attempt
        if all(outcome.arrived for outcome in outcomes):
            break
    told = read_alerts(on.run_folder())
    for outcome in outcomes:
        outcome.journalled = any(row["code"] == outcome.code for row in told)
    if not on.ended:
        time.sleep(case.settle_s)
    if case.after is not None:
        case.after(on)
    return outcomes


def strike(outcomes: list[Outcome], case: Case, on: Bench, patience_s: float) -> None:
    """Make the fault once and measure until each of its alerts is at each sink, or patience ends."""
    known = on.strikes()
    struck_ns = injected_ns = time.time_ns()
    if case.act is not None:
        case.act(on)
    else:
        on.inject(INSTEAD.get((on.broker.name, case.codes[0]), case.fault))
    deadline = time.monotonic() + patience_s
    has_struck = case.act is not None
    while time.monotonic() < deadline and (on.ended or on.engine.poll() is None):
        # Some faults wait for an order to strike: the last look without it is the earliest time.
        has_struck = has_struck or on.strikes() > known
        for outcome in outcomes:
            for sink, before in outcome.latency_s.items():
                at_ns = on.first_ns(sink, outcome.code, injected_ns)
                if at_ns and has_struck and before is None:
                    outcome.latency_s[sink] = max(0, at_ns - struck_ns) / 1e9
        if all(outcome.arrived for outcome in outcomes):
            break
        if not has_struck:
            struck_ns = time.time_ns()
        time.sleep(LOOK_S)


def life(on: Bench, within_s: float) -> list[str]:
    """One condition from its reminders to its end; what is wrong with them, in words.

    The position that somebody bought by hand is known already; its alert stands.
    """
    code, wrong = "NAKED_POSITION", []
    try:
        on.await_all(code, time.time_ns(), "reminder", REMIND_S + within_s)
        on.received.status["webhook"] = 500
        since_ns = time.time_ns()
        on.await_all("SINK_FAILED", since_ns, "raised", 2 * REMIND_S + within_s, but="webhook")
        del on.received.status["webhook"]
        on.await_all("SINK_FAILED", since_ns, "cleared", 2 * REMIND_S + within_s, but="webhook")
        done = on.kite_hft("alerts", "--ack", code)
        if done.returncode:
            raise CampaignError(f"kite-hft alerts --ack {code}: {done.stderr.strip()}")
        seen_ns = time.time_ns()
        time.sleep(2.5 * REMIND_S)
        loud = [s for s in SINKS if on.first_ns(s, code, seen_ns, "reminder")]
        if loud:
            wrong.append(f"{code} was acknowledged and reminded of by {', '.join(loud)}")
        since_ns = time.time_ns()
        buy_much(on)
        on.await_all(code, since_ns, "raised", within_s)
        since_ns = time.time_ns()
        on.trade("SELL", 2 * BIG)
        on.await_all(code, since_ns, "cleared", within_s)
    except CampaignError as error:
        wrong.append(f"life of a condition: {error}")
    return wrong


def sent_twice(on: Bench) -> list[str]:
    """Lines that a sink got more than once, and lines that nobody wrote down first."""
    wrong = []
    folder = on.run_folder()
    written = [json.loads(line) for line in (folder / "alerts.jsonl").read_text("utf-8").splitlines()]
    stamps = {(row["number"], row["event"], row.get("again", 0)): row["time_ns"] for row in written}
    for sink in ("hook", "webhook"):
        rows = [(r, (r.fields["number"], r.fields["event"], r.fields["again"])) for r in on.of(sink)]
        doubled = [name for name, n in Counter(name for _, name in rows).items() if n > 1]
        wrong += [f"{sink} got {name} twice" for name in doubled]
        early = [name for row, name in rows if row.at_ns < stamps.get(name, 2**63)]
        wrong += [f"{sink} got {name} before it was journalled" for name in early]
    raised = Counter((row["code"], row["key"]) for row in written if row["event"] == "raised")
    again = Counter((row["code"], row["key"]) for row in written if row["event"] == "raised" and row["again"])
    ended = Counter((row["code"], row["key"]) for row in written if row["event"] == "cleared")
    lasting = {(row["code"], row["key"]) for row in written if row.get("lasts")}
    for name in lasting:
        if raised[name] - again[name] > ended[name] + 1:
            wrong.append(f"{name} was raised {raised[name]} times and ended {ended[name]} times")
    return wrong


def heart(on: Bench) -> list[str]:
    """The heartbeat beats while all is well, and neither with a dead feed nor without an engine."""
    beats = [row.at_ns for row in on.received.of("heartbeat")]
    wrong = [] if len(beats) > 1 else [f"{len(beats)} heartbeats in all"]
    for row in on.of("journald", "FEED_DEAD"):
        if row.fields.get("event") == "raised":
            over = on.first_ns("journald", "FEED_DEAD", row.at_ns, "cleared") or time.time_ns()
            # A beat may be under way when the feed dies, and the next leaves with the news of its end.
            late = [at for at in beats if row.at_ns + 1_000_000_000 < at < over - 300_000_000]
            if late:
                gap_s, rest_s = (late[0] - row.at_ns) / 1e9, (over - late[-1]) / 1e9
                wrong.append(f"the heart beat {gap_s:.2f} s into a dead feed, {rest_s:.2f} s before its end")
    gone = min((row.at_ns for row in on.of("journald", "ENGINE_GONE")), default=0)
    if gone and any(at > gone for at in beats):
        wrong.append("the heart beat without an engine")
    return wrong


def secrets_shown(on: Bench) -> list[str]:
    """Files of the run that hold a word which must stand in none."""
    config = json.loads((on.folder / "config.yaml").read_text())
    ours = config[on.broker.name]
    words = [ours["access_token"], ours["api_key"], on.told["access_token"]]
    words += ["hook-secret", "beat-secret", "campaign-secret"]
    found = []
    for path in sorted(on.run_folder().rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        found += [f"{path.name} holds a secret" for word in words if word.encode() in data]
    return found


def run(
    cases: Sequence[Case],
    folder: Path,
    within_s: float,
    *,
    whole_life: bool = False,
    broker: BrokerSide = KITE_SIDE,
) -> tuple[list[Outcome], list[str]]:
    """Carry out the cases on one engine; (an outcome for each of their codes, what else is wrong).

    Raises:
        CampaignError: simulator or engine do not come up.
    """
    if not cases:
        return [], []
    wrong: list[str] = []
    outcomes: list[Outcome] = []
    with bench(folder, broker) as on:
        try:
            for case in cases:
                outcomes += carry_out(case, on, within_s)
                if whole_life and case.codes == ("NAKED_POSITION",):
                    wrong += life(on, within_s)
                    if case is not cases[-1]:
                        buy_much(on)  # something to be told of when the engine is gone
                        time.sleep(2.0)
        except CampaignError as error:
            wrong.append(f"after {outcomes[-1].code if outcomes else 'the start'}: {error}")
        wrong += heart(on)
    wrong += sent_twice(on) + secrets_shown(on)
    return outcomes, wrong


def judged(outcomes: Sequence[Outcome], within_s: float) -> list[str]:
    """What is wrong with the outcomes, in words."""
    wrong: list[str] = []
    for found in outcomes:
        for sink, latency_s in found.latency_s.items():
            if latency_s is None:
                wrong.append(f"{found.code} did not reach {sink}")
            elif latency_s > within_s + found.allow_s:
                wrong.append(f"{found.code} by {sink}: {latency_s:.1f} s > {within_s + found.allow_s:g} s")
        if not found.journalled:
            wrong.append(f"{found.code} does not stand in alerts.jsonl")
    return wrong


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m kite_hft.verify alerts",
        description="Every required alert, by a real fault: at each sink in time, once, journalled first.",
    )
    add_broker(made)
    made.add_argument("--within", type=float, default=5.0, help="seconds from fault to sink (default 5)")
    made.add_argument("--only", action="append", default=[], metavar="CODE", help="only this alert")
    made.add_argument("--keep", type=Path, help="folder that gets the run")
    return made


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when every alert came by every sink in time and is journalled."""
    options = parser().parse_args(argv)
    wrong: list[str] = []
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="kite_hft-alerts-") as scratch:
        folder = (options.keep or Path(scratch)).resolve()
        for number, session in enumerate(SESSIONS, 1):
            cases = [c for c in session if not options.only or set(c.codes) & set(options.only)]
            own = folder / f"session-{number}"
            own.mkdir(parents=True, exist_ok=True)
            try:
                side = side_of(options.broker)
                found, more = run(cases, own, options.within, whole_life=True, broker=side)
                outcomes += found
                wrong += [f"session {number}: {text}" for text in more]
            except CampaignError as error:
                wrong.append(f"session {number}: {error}")
    wrong += judged(outcomes, options.within)
    worst = max(
        (s - o.allow_s for o in outcomes for s in o.latency_s.values() if s is not None), default=None
    )
    result: dict[str, Any] = {
        "broker": options.broker,
        "within_s": options.within,
        "worst_s": None if worst is None else round(worst, 3),
        "sinks": list(SINKS),
        "alerts": [outcome.row() for outcome in outcomes],
        "wrong": wrong,
    }
    if wrong:
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "alerts", *argv])
    print(json.dumps(result))
    return 1 if wrong else 0
