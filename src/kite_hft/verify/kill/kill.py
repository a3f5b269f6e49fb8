"""Layer 6, by hand and CI, cold: `verify kill`: after the latch nothing opens, and everything is cancelled.

Virtual (--trials): the real order stage in virtual time (virtual.py): killed by command, file, signal
or loss limit at a random instant, with a full queue, a hung strategy, a dead feed, answers that never
come, in the middle of a burst of calls, over a restart. 0 orders that open leave after the latch, all
cancels are out within N/8 s + 1 s (1.25 s where the broker's window had just been filled), latched over a
restart of the stage, and a resume lets orders leave again.

Real (--real): an engine and the simulator as processes (real.py): from the write of the latch to the
last order that opens in the simulator's own log, at most 50 ms, with a strategy that sleeps and a queue that
is full; latched over a restart of the engine; then resumed.
"""

from __future__ import annotations

import argparse
import json
import shlex
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Final

from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.brokers.choosing import add_broker, limits_of
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.kill.virtual import run_trial

SHOWN: Final = 5


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m kite_hft.verify kill", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add_broker(made)
    made.add_argument("--trials", type=int, default=1000, help="in virtual time (default 1000)")
    made.add_argument("--seed", type=int, default=1, help="of the first trial; each has the next one")
    made.add_argument("--real", type=int, default=0, metavar="N", help="kills of a real engine (default 0)")
    made.add_argument("--within-ms", type=float, default=50.0, help="asked of the real ones (default 50)")
    made.add_argument("--keep", type=Path, help="folder that gets the real runs")
    return made


def virtual(options: argparse.Namespace) -> dict[str, Any]:
    """All trials; sums, and what is wrong with the seed that replays it."""
    side = side_of(options.broker)
    limits = limits_of(side)
    ways, conditions, sums = Counter[str](), Counter[str](), Counter[str]()
    slowest, wrong = 0.0, []
    with tempfile.TemporaryDirectory(prefix="kite_hft-kill-") as scratch:
        for seed in range(options.seed, options.seed + options.trials):
            found = run_trial(seed, limits, Path(scratch), side)
            ways[found["way"]] += 1
            conditions.update(found["conditions"])
            sums.update({name: found.get(name, 0) for name in SUMS})
            slowest = max(slowest, found.get("slowest_cancel_ms", 0.0))
            wrong += [{"seed": seed, "wrong": words} for words in found["wrong"]]
            show_progress(seed - options.seed + 1, options.trials, f"{len(wrong)} wrong")
    return {
        "trials": options.trials, "ways": dict(sorted(ways.items())),
        "conditions": dict(sorted(conditions.items())),
        **sums, "slowest_cancel_ms": slowest, "wrong": wrong,
    }  # fmt: skip


SUMS: Final = ("orders_before", "opening_after", "reducing_after", "cancelled")


def main(argv: list[str]) -> int:
    """Run the campaign; 0 when nothing was wrong."""
    options = parser().parse_args(argv)
    result: dict[str, Any] = {"campaign": "kill", "broker": options.broker}
    if options.trials:
        result["virtual"] = virtual(options)
    if options.real:
        from kite_hft.verify.kill.real import real

        result["real"] = real(options)
    parts = [result[name] for name in ("virtual", "real") if name in result]
    failed = [wrong for part in parts for wrong in part["wrong"]]
    result["ok"] = not failed
    if failed:
        first = next((row["seed"] for row in result.get("virtual", {}).get("wrong", [])), None)
        words = ["--broker", options.broker, "--trials", "1", "--seed", str(first)] if first else argv
        result["replay"] = shlex.join(["python", "-m", "kite_hft.verify", "kill", *words])
        for part in parts:
            part["wrong"], part["wrong_count"] = part["wrong"][:SHOWN], len(part["wrong"])
    print(json.dumps(result))
    return int(bool(failed))
