"""What the whole engine takes when nothing happens and every process parks.

    python benchmarks/bench_idle.py [--rounds 3] [--quick]

The real engine (50 instruments, one connection, a strategy that waits for ticks) is connected and
subscribed; its websocket server sends nothing. User and system time of supervisor, feed, worker, ORDERS
and spares over 20 s, from /proc, as per cent of one core; simulator and server are not counted. Timers
that remain: signs of life and time-outs (10 a second and process), the journal's sync (200 looks a second),
the supervisor's look (20 a second).
"""

from __future__ import annotations

import functools
import time
from dataclasses import replace

import kit
import psutil
from load.profiles import PROFILES
from load.rig import Rig, rig

SETTLE_S = 6.0
WINDOW_S = 20.0
WAITS = {kit.OURS: "park", "kite_hft, wait adaptive": "adaptive"}


def engine_of(running_rig: Rig) -> list[psutil.Process]:
    """The supervisor and its children."""
    assert running_rig.engine is not None
    supervisor = psutil.Process(running_rig.engine.process.pid)
    return [supervisor, *supervisor.children(recursive=True)]


def used_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def idle(wait: str, window_s: float) -> float:
    """One run; per cent of a core."""
    load = replace(PROFILES["reference"], instruments=50, strategy="probe", wait=wait, warm_s=0.0)
    with rig(load, None) as running_rig:
        running_rig.start_engine()
        time.sleep(SETTLE_S)
        processes = engine_of(running_rig)
        before_s, started = used_s(processes), time.monotonic()
        time.sleep(window_s)
        percent = 100 * (used_s(processes) - before_s) / (time.monotonic() - started)
        running_rig.stop_engine()
    return percent


def main() -> None:
    chosen = kit.options(__doc__, rounds=3).parse_args()
    row = kit.Row("the engine idle", "% of a core", "less", [kit.Target(None, at_most=2.0)])
    window_s = 5.0 if chosen.quick else WINDOW_S
    contenders = {name: functools.partial(idle, wait, window_s) for name, wait in WAITS.items()}
    kit.measure(row, contenders, 1 if chosen.quick else chosen.rounds)
    kit.write("idle", [row], chosen.json)


if __name__ == "__main__":
    main()
