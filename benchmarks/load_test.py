"""Load test of the whole engine: a generator in a process of its own, the real engine, one table, one JSON.

    python benchmarks/load_test.py --profile reference
    python benchmarks/load_test.py --instruments 1000 --duration 60
    python benchmarks/load_test.py --profile flood --json flood.json

The engine is `python -m kite_hft.engine` with a configuration made for the load; its orders go to the
simulator, its ticks come from the generator: a plain websocket server that sends frames encoded
beforehand on a fixed schedule. Every latency that begins with "intended send" counts from the moment at
which the schedule wanted the frame sent (CLOCK_MONOTONIC, written into the packet, 1 µs), so a generator
or an engine that falls behind shows and hides nothing. Percentiles are of the steady window, without
start and warm-up, as upper edges of log-linear buckets: at most 1/16 above the truth. A run is in order
when all that was sent was computed: by count and by checksum of (token, price, volume).

Exit codes: 0 in order; 1 something was lost, late or wrong (said below the table); 2 flags that do not
fit; 3 a process did not start or failed; 130 ended by Ctrl-C (what was measured is printed).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from pathlib import Path

try:
    from load import table
    from load.flood import search
    from load.measuring import Result, Session, judge, own_bytes, run_fixed, without_strategy
    from load.profiles import PROFILES, REACHES, Load, LoadError, resolved
    from load.receivers import capacity, run_bare
    from load.rig import Interrupted, Rig, RigError, interruptible, rig
except ModuleNotFoundError as missing:
    sys.exit(f"load_test: {missing}; run `make build` first, then .venv/bin/python {sys.argv[0]}")

EXIT_WRONG, EXIT_USAGE, EXIT_FAILED, EXIT_INTERRUPTED = 1, 2, 3, 130
INTENT_RATIO_MAX = 1.5


def parser() -> argparse.ArgumentParser:
    profiles = "\n".join(f"  {name:10} {load.says}" for name, load in PROFILES.items())
    made = argparse.ArgumentParser(
        description=__doc__,
        epilog=f"profiles:\n{profiles}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = made.add_argument
    add(
        "--profile", choices=PROFILES, default="reference", help="what is run (default: reference); see below"
    )
    add(
        "--instruments",
        type=int,
        metavar="N",
        help="how many: Kite to 9,000, Upstox to 4,000 (--limits loopback: 50,000)",
    )
    add("--duration", type=float, metavar="S", help="seconds of the steady window; flood: of its last run")
    add("--rate", type=float, metavar="R", help="ticks a second and instrument; flood: where it begins")
    add(
        "--mode",
        choices=("ltp", "quote", "full", "ltpc", "option_greeks"),
        help="of the subscription, in the broker's word (default full; stamps need it)",
    )
    add("--connections", type=int, metavar="K", help="websocket connections (default: as few as carry all)")
    add("--packets-per-frame", type=int, metavar="N", help="packets in a frame (default 30; flood 100)")
    add(
        "--broker",
        choices=tuple(REACHES),
        default="kite",
        help="whose protocol the generator speaks, whose limits hold (Upstox: two connections of 2,000 keys)",
    )
    add("--json", type=Path, metavar="FILE", help="write the report's JSON with all that was measured")
    add(
        "--strategy", choices=("kalman_simple", "probe", "none"), help="runs in form B beside each connection"
    )
    add("--strategies", type=int, metavar="N", help="so many of them on every tick (default 1)")
    add("--probe-every", type=int, metavar="N", help="probe: an intent each N ticks (default 100)")
    add(
        "--bare",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="afterwards a bare picows receiver at the same frames and gaps (profile pool does)",
    )
    add("--limits", choices=("loopback",), help="rules for more instruments than are allowed; loopback only")
    add("--warm-up", type=float, metavar="S", help="seconds before the steady window (default 2)")
    add("--packing", choices=("auto", "fused", "separate"), help="feed and compute in one process or not")
    add("--wait", choices=("auto", "spin", "yield", "park", "adaptive"), help="how stages wait for work")
    add("--seed", type=int, metavar="N", help="of instruments and prices (default 1)")
    add("--keep", type=Path, metavar="DIR", help="keep configuration, logs and run folder there")
    return made


def main(argv: list[str] | None = None) -> int:
    """Run one profile; returns the exit code."""
    words = sys.argv[1:] if argv is None else argv
    made = parser()
    options = made.parse_args(words)
    try:
        load = resolved(options)
    except LoadError as error:
        print(f"load_test: {error}", file=sys.stderr)
        return EXIT_USAGE
    result, progress = Result(), table.ProgressLine()
    failed = ""
    try:
        with interruptible(), rig(load, options.keep) as running:
            measure(running, load, result, progress)
    except Interrupted as interruption:
        result.interrupted = result.interrupted or str(interruption)
    except (RigError, OSError) as error:
        failed = str(error)
    progress.end()
    told = table.document(load, result, shlex.join(["python", "benchmarks/load_test.py", *words]))
    if not failed or result.sent:
        table.show(load, told)
    if options.json is not None:
        options.json.write_text(json.dumps(told, indent=1) + "\n", "utf-8")
    if failed:
        print(f"load_test: {failed}", file=sys.stderr)
        return EXIT_FAILED
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_WRONG if result.wrong else 0


def measure(running: Rig, load: Load, result: Result, progress: table.ProgressLine) -> None:
    """The whole run: engine under load, its report, then the receivers without an engine.

    Raises:
        RigError, Interrupted: `result` holds what there was until then.
    """
    progress("start", 0.0, "simulator, generator, engine")
    running.start_engine()
    session = Session.open(running, result, progress)
    checksum = 0
    try:
        if load.search:
            search(session)
        else:
            run_fixed(session)
    finally:
        session.looker.close()
        checksum = session.sent_sum
        result.report, code = running.stop_engine()
        judge(result, checksum, code)
    if result.interrupted:
        return
    if load.bare:
        result.bare = run_bare(running, running.connections, progress)
        ours = result.steady.get("latency_us", {}).get("send_to_intent", {})
        if ours.get("n") and result.bare["send_to_callback"]["n"]:
            result.bare["intent_ratio"] = ours["p50"] / result.bare["send_to_callback"]["p50"]
            result.bare["asked"] = INTENT_RATIO_MAX
    if load.profile in ("reference", "pool") and load.is_as_shipped and load.strategy != "none":
        result.strategy_bytes = own_bytes(result.memory) - without_strategy(load, progress)
    if load.search:
        result.generator["alone"] = capacity(running, running.connections, progress)


if __name__ == "__main__":
    sys.exit(main())
