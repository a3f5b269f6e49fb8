"""Layer 6, a face for people, cold: does the order journal survive power cuts and failing disks?

    python -m kite_hft.verify journal --crash-states all      every file that a power cut may leave
    python -m kite_hft.verify journal --enospc --eio          the disk fails at every call; real file systems

In the default mode and with trading.fsync_before_send. --crash-states: days of a chance order stream
through the real order stage and journal writer, cut at every write and sync; up to --most states of a
cut by combination of its sectors (all of them where there are no more, else so many by chance), and
each size that the file may have; real scan and replay against an independent model (crash_states.py).
--enospc, --eio: ENOSPC and EIO, from then on or once, at every write, sync and fallocate of a run
(faults.py), and, as root, a tmpfs and an ext4 that run full (real_files.py).

One JSON line on standard output; exit code 0 only when everything held; otherwise it has the command
that shows the failure again.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.campaign import show_progress
from kite_hft.verify.journal.crash_states import OPERATIONS_PER_DAY, Tally, Wrong, enumerate_day, make_day
from kite_hft.verify.journal.faults import Case, Counted, case_of, cases, run_case
from kite_hft.verify.journal.real_files import Skipped, run_real

MODES: Final = {"default": False, "fsync": True}
SHORT_DAYS: Final = 1


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m kite_hft.verify journal",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--crash-states", choices=("all", "short"), help="all: --operations; short: one day")
    made.add_argument("--enospc", action="store_true", help="the disk is full, at every call")
    made.add_argument("--eio", action="store_true", help="the disk fails, at every call")
    made.add_argument(
        "--operations", type=int, default=10_000, help="writes and syncs a mode (default 10000)"
    )
    made.add_argument("--most", type=int, default=64, help="states of a cut by combination (default 64)")
    made.add_argument("--mode", choices=tuple(MODES), help="this mode alone")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--day", type=int, help="this day alone (replay)")
    made.add_argument("--cut", type=int, default=-1, help="this cut of it alone (replay)")
    made.add_argument("--case", help="this failing call alone, as a failure names it (replay)")
    made.add_argument("--no-real", action="store_true", help="no real file systems")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked for; one JSON line. Returns 1 on a miss."""
    options = parser().parse_args(argv)
    faults = options.enospc or options.eio or options.case
    if not (options.crash_states or faults):
        parser().error("name at least one of --crash-states, --enospc, --eio")
    began, wrong, found = time.monotonic(), list[dict[str, str]](), dict[str, Any]()
    if options.crash_states:
        found["crash_states"] = _crash_states(options, wrong)
    if faults:
        found["faults"] = _faults(options, wrong)
        if not (options.no_real or options.case):
            found["real"] = _real(options.seed, wrong)
    line = {"campaign": "journal", "ok": not wrong, "seed": options.seed, **found, "wrong": wrong}
    print(json.dumps(line | {"seconds": round(time.monotonic() - began, 1)}))
    return int(bool(wrong))


def _crash_states(options: argparse.Namespace, wrong: list[dict[str, str]]) -> dict[str, Any]:
    every = -(-options.operations // OPERATIONS_PER_DAY)
    days = SHORT_DAYS if options.crash_states == "short" else every
    modes = [options.mode] if options.mode else list(MODES)
    chosen = range(days) if options.day is None else [options.day]
    bar = progress(len(modes) * len(chosen), "days cut at every write and sync")
    found = {}
    for mode in modes:
        tally = Tally()
        with tempfile.TemporaryDirectory(prefix="khft-journal-") as folder:
            for number in chosen:
                seed = options.seed * 100_000 + number
                try:
                    day = make_day(seed, fsync_first=MODES[mode])
                    chance = random.Random(seed)
                    enumerate_day(day, options.most, chance, Path(folder), tally, only=options.cut)
                except Wrong as error:
                    again = f"--crash-states all --mode {mode} --seed {options.seed} --day {number}"
                    wrong.append(_miss(f"{mode}, day {number}: {error}", f"{again} --most {options.most}"))
                bar()
        found[mode] = asdict(tally)
    return found


def _faults(options: argparse.Namespace, wrong: list[dict[str, str]]) -> dict[str, Any]:
    chosen: list[Case]
    if options.case:
        chosen = [case_of(options.case, options.seed)]
    else:
        chosen = list(cases(options.seed, enospc=options.enospc, eio=options.eio))
    if options.mode:
        chosen = [case for case in chosen if case.fsync_first is MODES[options.mode]]
    counted, bar = Counted(), progress(len(chosen), "calls of the disk that fail")
    for case in chosen:
        try:
            run_case(case, counted)
        except Wrong as error:
            again = f"--enospc --eio --seed {options.seed} --case '{case}'"
            wrong.append(_miss(f"{case}: {error}", again))
        bar()
    return asdict(counted)


def _real(seed: int, wrong: list[dict[str, str]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in ("tmpfs", "ext4"):
        try:
            found[kind] = run_real(kind, seed)
        except Skipped as why:
            found[kind] = {"skipped": str(why)}
        except Wrong as error:
            wrong.append(_miss(f"a real {kind}: {error}", f"--enospc --seed {seed}"))
    return found


def _miss(text: str, again: str) -> dict[str, str]:
    return {"text": text, "replay": f"python -m kite_hft.verify journal {again}"}


def progress(total: int, what: str) -> Callable[[], None]:
    """A bar on a terminal's standard error, nothing elsewhere; each call is one step."""
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        show_progress(done, total, what)

    return step


if __name__ == "__main__":
    sys.exit(main())
