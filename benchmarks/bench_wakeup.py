"""How long until a process that waits for the tick ring runs, beside the bare means of the kernel.

    python benchmarks/bench_wakeup.py [--rounds 7] [--quick]

Two processes, pinned to the first and the last core. The writer looks at the clock for 20 us or
1 ms (it does not sleep), takes CLOCK_MONOTONIC, and publishes one TICK that carries this time; the
reader takes the time as soon as its wait is over, and answers before the next idle time begins. A
figure is the median of one run, in ns.

kite_hft             ring_publish and wait_until (ext/ring.h, ext/wait.h) in compiled loops with the
                     product's compiler flags: what is measured includes the copy of the TICK
kite_hft, Python     the same, waited for by Waiter.wait of the built product, as a worker does
futex in C           store, FUTEX_WAKE; the reader sleeps in FUTEX_WAIT (peers/c/hops.c, -O3 -march=native)
spin in C            store; the reader looks all the time
eventfd in Python    os.eventfd_write; the reader blocks in os.eventfd_read

The C twins check nothing and know no number of readers. Single figures depend on how deep the
idle core sleeps; the ratio within a round does not.
"""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Mapping

import hops
import kit

IDLES = {"20 us": 20_000, "1 ms": 1_000_000}
BUDGET_NS = 1_500_000_000
COUNT_MAX = 20_000
FUTEX, SPIN, PYTHON, EVENTFD = "futex in C", "spin in C", "kite_hft, Python", "eventfd in Python"


def ours(role: str, wait: str, count: int, idle_ns: int) -> float:
    return hops.ours(("wake", role), wait, count, idle_ns)[1]


def eventfd(count: int, idle_ns: int) -> float:
    words = [sys.executable, kit.PEERS / "eventfd_ends.py", "eventfd", count, idle_ns, *hops.cores()]
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["median_ns"])


def rows_of(idle: str, idle_ns: int, quick: bool) -> list[tuple[kit.Row, Mapping[str, Callable[[], float]]]]:
    """The parked and the spinning row of one idle time, with their contenders."""
    count = min(COUNT_MAX, (BUDGET_NS // 10 if quick else BUDGET_NS) // (idle_ns + 10_000))
    part = functools.partial
    parked = kit.Row(
        f"wake-up of a parked process, {idle} idle", "ns", "less", [kit.Target(FUTEX, at_most=1.2)]
    )
    spinning = kit.Row(
        f"wake-up of a spinning process, {idle} idle", "ns", "less", [kit.Target(SPIN, at_most=1.5)]
    )
    return [
        (parked, {
            kit.OURS: part(ours, "wait", "park", count, idle_ns),
            FUTEX: part(hops.bare, "futex", count, idle_ns),
            PYTHON: part(ours, "wait-python", "park", count, idle_ns),
            EVENTFD: part(eventfd, count, idle_ns),
        }),
        (spinning, {
            kit.OURS: part(ours, "wait", "spin", count, idle_ns),
            SPIN: part(hops.bare, "spin", count, idle_ns),
            PYTHON: part(ours, "wait-python", "spin", count, idle_ns),
        }),
    ]  # fmt: skip


def main() -> None:
    chosen = kit.options(__doc__).parse_args()
    rounds = 2 if chosen.quick else chosen.rounds
    rows = []
    for idle, idle_ns in IDLES.items():
        for row, contenders in rows_of(idle, idle_ns, chosen.quick):
            rows.append(kit.measure(row, contenders, rounds))
    kit.write("wakeup", rows, chosen.json)


if __name__ == "__main__":
    main()
