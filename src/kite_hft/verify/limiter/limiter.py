"""Layer 6, by hand or CI, cold: `verify limiter`: the engine's throttle against the brokers' counters.

Random days of calls (steady, random, in bursts, at the edges of the server's seconds, in storms; orders,
modifications, exits, cancels and reads mixed) go through the real Throttle and Budget with the tables
of config/rules, in virtual time. In two of three days the process stands still now and then, for up to
3 s, between the decision and the write, of orders as of reads; all is judged by the times of the writes.
A server written apart counts what arrives by its own clock, which is off by up to an hour and drifts by up
to 500 ppm; the way takes 0 to 250 ms, at random or as an enemy would have it. Asked is:

  - no limit of a broker is passed in any calendar or sliding second, minute, half hour, or in the day,
    and our own promise holds: no more calls of all kinds than config/rules says in any 1.25 s;
  - an exit leaves at once while fewer exits and cancels than places are kept for them have left in
    each window; with more of them its wait keeps its bound (cases.bound_ns), and a read's too;
  - over all cases of a broker (from 50 cases on, a million arrivals) at least 75 % of the order calls of
    an ideal limiter are sent. The ideal one knows the server's clock and every delay, keeps nothing back
    for exits, and is bound by the broker's windows alone (server.ideal: greedy, the most that is
    possible).

Two processes share the cases.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO, Any, Final

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.settings import load_yaml
from kite_hft.trading.broker import Limits
from kite_hft.verify.campaign import ROOT, show_progress
from kite_hft.verify.limiter.cases import ARRIVALS, run_case, summary_of

BROKERS: Final = ("kite", "upstox")
UTILISATION: Final = 0.75
CASES_JUDGED: Final = 50
"""A few drawn days say nothing of the mean."""
LOOK_S: Final = 0.2
PROGRESS_BYTES: Final = 1 << 22
_SUMS: Final = ("arrivals", "sent", "reads", "ideal", "urgent", "prompt")
_WORST: Final = ("worst_exit_ns", "worst_single_ns", "worst_read_ns")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m kite_hft.verify limiter",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--arrivals", type=float, default=1e6, help="calls wished in all (default 1e6)")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--broker", choices=("both", *BROKERS), default="both", help="whose limits (both)")
    made.add_argument("--case", type=int, help="only this one, told in full")
    made.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    made.add_argument("--part", help=argparse.SUPPRESS)  # I/N: of the cases, told line by line
    return made


def tables(chosen: str = "both") -> dict[str, Limits]:
    """The tables that the engine is shipped with, by broker: of both, or of one."""
    found = {}
    for broker in BROKERS if chosen == "both" else (chosen,):
        path = sorted((ROOT / "config/rules").glob(f"{broker}_*.yaml"))[-1]
        found[broker] = limits_from_mapping(load_yaml(path))
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cases; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    cases = max(1, -(-int(options.arrivals) // ARRIVALS))
    if options.part:
        return part(options)
    if options.case is not None:
        found = run_case(options.seed, options.case, tables(options.broker))
        print(json.dumps(summary_of(found) | {"drawn": vars(found.case), "ok": not found.wrong}))
        return int(bool(found.wrong))
    began = time.monotonic()
    rows = shared(options, cases)
    return tell(options, rows, time.monotonic() - began)


def part(options: argparse.Namespace) -> int:
    """One process's cases, a line each, until its share of the calls was wished: a case may end early, as
    its day does.
    """
    number, of = (int(word) for word in options.part.split("/"))
    limits = tables(options.broker)
    missing = -(-int(options.arrivals) // of)
    while missing > 0:
        found = run_case(options.seed, number, limits)
        print(json.dumps(summary_of(found)), flush=True)
        number, missing = number + of, missing - found.arrivals
    return 0


def shared(options: argparse.Namespace, cases: int) -> list[dict[str, Any]]:
    """The rows of all cases, as the processes tell them."""
    jobs = max(1, min(options.jobs, cases))
    words = [sys.executable, "-m", "kite_hft.verify", "limiter", "--seed", str(options.seed)]
    words += ["--broker", options.broker]
    words += ["--arrivals", str(options.arrivals), "--part"]
    with contextlib.ExitStack() as held:
        files = [held.enter_context(tempfile.TemporaryFile("w+")) for _ in range(jobs)]
        running = [
            held.enter_context(subprocess.Popen([*words, f"{i}/{jobs}"], stdout=file))
            for i, file in enumerate(files)
        ]
        try:
            while any(process.poll() is None for process in running):
                time.sleep(LOOK_S)
                show(files, cases)
        finally:
            for process in running:
                process.terminate()
        return [json.loads(line) for file in files for line in lines(file)]


def lines(file: IO[str]) -> list[str]:
    """What stands in a part's file."""
    file.seek(0)
    return file.readlines()


def show(files: Sequence[IO[str]], cases: int) -> None:
    """How far it is, on a terminal."""
    done = sum(os.pread(file.fileno(), PROGRESS_BYTES, 0).count(b"\n") for file in files)
    show_progress(min(done, cases), cases, "days")


def by_broker(rows: Sequence[dict[str, Any]], broker: str) -> dict[str, Any]:
    """The figures of one broker's cases."""
    own = [row for row in rows if row["broker"] == broker]
    found: dict[str, Any] = {name: sum(row[name] for row in own) for name in _SUMS}
    found |= {name.replace("_ns", "_s"): max((row[name] for row in own), default=0) / 1e9 for name in _WORST}
    tight = [row for row in own if row["ideal"] < row["demand"]]
    found["busiest"] = {
        name: max(row["busiest"].get(name, 0) for row in own) for name in (own[0]["busiest"] if own else ())
    }
    found["utilisation"] = ratio(own)
    found["utilisation_where_the_ideal_was_full"] = ratio(tight)
    return found


def ratio(rows: Sequence[dict[str, Any]]) -> float:
    """What we sent of what the ideal limiter sends."""
    sent, most = sum(int(row["sent"]) for row in rows), sum(int(row["ideal"]) for row in rows)
    return round(sent / max(1, most), 4)


def tell(options: argparse.Namespace, rows: Sequence[dict[str, Any]], took_s: float) -> int:
    """The one line."""
    wrong = [f"case {row['number']}: {text}" for row in rows for text in row["wrong"]]
    arrivals = sum(row["arrivals"] for row in rows)
    if arrivals < int(options.arrivals):
        wrong.append(
            f"{arrivals} of {options.arrivals:g} calls were wished: a process ended early; "
            "what it said stands above"
        )
    figures = {broker: by_broker(rows, broker) for broker in tables(options.broker)}
    for broker, row in figures.items():
        if len(rows) >= CASES_JUDGED and row["utilisation"] < UTILISATION:
            wrong.append(f"{broker}: utilisation {row['utilisation']} < {UTILISATION}")
    print(
        json.dumps(
            {
                "campaign": "limiter",
                "ok": not wrong,
                "wrong": wrong[:10],
                "cases": len(rows),
                "arrivals": arrivals,
                "arrivals_per_s": round(arrivals / max(took_s, 1e-9)),
                "took_s": round(took_s, 1),
                **figures,
            }
        )
    )
    broken = [row["number"] for row in rows if row["wrong"]]
    if wrong:
        again = f"--case {broken[0]}" if broken else f"--arrivals {options.arrivals:g}"
        words = f"--broker {options.broker} --seed {options.seed} {again}"
        print(f"missed; again: python -m kite_hft.verify limiter {words}", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
