"""Layer 6, by hand or CI, cold: `verify sim`: short trading days of the order path, one from each seed.

Each seed is a day in virtual time (sim/order_path): the real order stage and the real journal writer on
a virtual clock, network and disk, against the simulated broker, whose books are the truth. Each seed has
its own subset of faults and its own rates. Checkers that share no code with the engine look at every
call, every journal record and every trade, and at everything once the faults have ended:

  no order without a wish, a pass of the gate and a journal record before it; never two orders of one
  intent; the broker's windows kept; nothing opens while it must not, and exits pass; positions,
  executions and money equal the exchange's to the paisa; the journal gives the same book; absence is
  true; every intent and every order has one story, which its strategy was told; everything comes to rest.

`--seed S` replays one day and tells its end. `--hash-check N` runs N days a second time in another process
(with another hash seed of Python) and compares their traces. `--mutants` plants bugs into the engine, one
after the other, and asks that the checkers find each (mutants.py).
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.settings import load_yaml
from kite_hft.sim.order_path.faults import KINDS, STATES, can_meet
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.trading.broker import Limits
from kite_hft.verify.campaign import KITE_RULES, show_progress

PROGRESS: Final = 10
DAYS_HELD: Final = 12
"""So many days' objects wait to be collected: some 1.5 MB each."""
BREAKS_TOLD: Final = 10
TAIL: Final = 60
COMMAND: Final = "python -m kite_hft.verify sim"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--seeds", type=int, default=1000, help="how many days (default 1000)")
    made.add_argument("--first", type=int, default=0, metavar="K", help="the first seed (default 0)")
    made.add_argument("--seed", type=int, metavar="S", help="only this day, with the end of its trace")
    made.add_argument("--processes", type=int, default=2, help="share the days (default 2)")
    made.add_argument("--hash-check", type=int, default=0, metavar="N", help="run N days twice")
    made.add_argument("--mutants", action="store_true", help="plant bugs, and ask that each is found")
    made.add_argument("--only", default="", metavar="NAME", help="with --mutants: this one")
    made.add_argument("--table", action="store_true", help="tell the whole table fault x state")
    made.add_argument("--part", action="store_true", help=argparse.SUPPRESS)
    return made


def limits() -> Limits:
    """The broker's limits that the days begin with."""
    return limits_from_mapping(load_yaml(KITE_RULES))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked; one JSON line. Returns 1 on a break, a differing trace or a mutant that lives."""
    options = parser().parse_args(argv)
    if options.part:
        return part(options)
    if options.seed is not None:
        return replay(options.seed)
    if options.mutants:
        from kite_hft.verify.simulation.mutants import campaign

        return campaign(limits(), options.only, options.processes)
    return days(options)


# One process's days


def live(seed: int, table: Limits, trace: int = 0) -> OrdersWorld:
    """One day, lived through."""
    world = OrdersWorld(seed, table, trace=trace)
    world.run()
    return world


def part(options: argparse.Namespace) -> int:
    """The days of one process: a line for each break, and one with the sums of each few days."""
    gc.disable()  # a day's objects go together, when it is over
    try:
        _part(options)
    except KeyboardInterrupt:
        return 130  # what was told before stands
    return 0


def _part(options: argparse.Namespace) -> None:
    table, found = limits(), Sums()
    for n in range(1, options.seeds + 1):
        world = live(options.first + n - 1, table)
        found.add(world)
        if world.checker.breaks:
            print(json.dumps({"seed": world.seed, "breaks": world.checker.breaks[:3]}), flush=True)
        if options.hash_check:
            print(json.dumps({"seed": world.seed, "hash": world.trace_hash()}), flush=True)
        if n % PROGRESS == 0 or n == options.seeds:
            print(json.dumps({"of": options.first, "done": n, "sums": found.told()}), flush=True)
            found = Sums()
        if n % DAYS_HELD == 0:
            gc.collect()


class Sums:
    """What days add up to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.table: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def add(self, world: OrdersWorld) -> None:
        """One more day."""
        self.counts.update(world.faults.counts)
        for (kind, state), n in world.faults.table.items():
            self.table[f"{kind} {state}"] += n
        self.others["orders"] += len(world.checker.ledger.placed)
        self.others["intents"] += len(world.checker.wishes)
        self.others["trades"] += len(world.exchange.account.trades)
        self.others["simulated_s"] += world.now_ns // 10**9

    def told(self) -> dict[str, dict[str, int]]:
        return {"counts": dict(self.counts), "table": dict(self.table), "others": dict(self.others)}

    def take(self, told: dict[str, dict[str, int]]) -> None:
        """Another process's sums."""
        self.counts.update(told["counts"])
        self.table.update(told["table"])
        self.others.update(told["others"])


# All processes


def shares(seeds: int, first: int, processes: int) -> list[tuple[int, int]]:
    """(first seed, how many) of each process."""
    each, more = divmod(seeds, processes)
    found = []
    for number in range(processes):
        n = each + (number < more)
        if n:
            found.append((first, n))
        first += n
    return found


@contextlib.contextmanager
def workers(options: argparse.Namespace, *more: str) -> Iterator[list[IO[str]]]:
    """The processes' lines; none outlives this."""
    with contextlib.ExitStack() as held:
        found = []
        for first, n in shares(options.seeds, options.first, max(1, options.processes)):
            command = [sys.executable, "-m", "kite_hft.verify", "sim", "--part"]
            command += ["--first", str(first), "--seeds", str(n), *more]
            process = held.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            held.callback(process.terminate)
            assert process.stdout is not None
            found.append(process.stdout)
        yield found


def lines(pipes: Sequence[IO[str]]) -> Iterator[dict[str, Any]]:
    """Lines of all processes as they come."""
    import selectors

    with selectors.DefaultSelector() as chosen:
        for pipe in pipes:
            chosen.register(pipe, selectors.EVENT_READ)
        while chosen.get_map():
            for key, _events in chosen.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if line:
                    yield json.loads(line)
                else:
                    chosen.unregister(key.fileobj)


def days(options: argparse.Namespace) -> int:
    """All days; the JSON line. Ctrl-C ends them, and tells what was found and how to go on."""
    began, sums = time.monotonic(), Sums()
    breaks: list[dict[str, Any]] = []
    wanted = dict(shares(options.seeds, options.first, max(1, options.processes)))
    done = dict.fromkeys(wanted, 0)
    interrupted = False
    try:
        with workers(options) as pipes:
            for row in lines(pipes):
                if "breaks" in row:
                    breaks.append(row)
                elif "sums" in row:
                    sums.take(row["sums"])
                    done[row["of"]] = row["done"]
                    show(sum(done.values()), options.seeds, len(breaks), began)
    except KeyboardInterrupt:
        interrupted = True
    seconds = time.monotonic() - began
    told = summary(options, sums, breaks, seconds, sum(done.values()))
    left = [(first + done[first], n - done[first]) for first, n in wanted.items() if done[first] < n]
    if left:
        told["interrupted" if interrupted else "wrong"] = "not all days were lived"
        told["go_on"] = [f"{COMMAND} --first {first} --seeds {n}" for first, n in left]
    differ = False
    if options.hash_check and not interrupted:
        told["hash_check"] = checked = hash_check(options)
        differ = bool(checked["differ"])
    print(json.dumps(told))
    return int(bool(breaks or left) or differ)


def summary(
    options: argparse.Namespace, sums: Sums, breaks: list[dict[str, Any]], seconds: float, done: int
) -> dict[str, Any]:
    """What is told of a campaign."""
    pairs = {
        (kind, state): sums.table.get(f"{kind} {state}", 0)
        for kind in KINDS
        for state in STATES
        if can_meet(kind, state)
    }
    empty = [f"{kind} x {state}" for (kind, state), n in pairs.items() if not n]
    told: dict[str, Any] = {
        "campaign": "sim",
        "seeds": done,
        "first": options.first,
        "processes": options.processes,
        "seeds_per_s": round(done / seconds, 2),
        "seconds": round(seconds, 1),
        "faults": sum(sums.counts.values()),
        "faults_per_seed": round(sum(sums.counts.values()) / max(done, 1), 1),
        "faults_by_kind": {kind: sums.counts.get(kind, 0) for kind in KINDS},
        **sums.others,
        "pairs_hit": len(pairs) - len(empty),
        "pairs": len(pairs),
        "pairs_empty": empty,
        "breaks": len(breaks),
    }
    if options.table:
        told["table"] = {
            kind: {state: pairs[kind, state] for state in STATES if pairs.get((kind, state))}
            for kind in KINDS
        }
    if breaks:
        worst = sorted(breaks, key=lambda row: int(row["seed"]))[:BREAKS_TOLD]
        told["broken"] = worst
        told["replay"] = f"{COMMAND} --seed {worst[0]['seed']}"
    return told


def show(done: int, of: int, breaks: int, began: float) -> None:
    """Progress, on a terminal alone."""
    rate = done / max(time.monotonic() - began, 1e-9)
    show_progress(done, of, f"days, {rate:.1f}/s, {breaks} breaks")


def hash_check(options: argparse.Namespace) -> dict[str, Any]:
    """Days lived twice, each time in processes with another order of Python's sets of texts."""
    again = argparse.Namespace(seeds=options.hash_check, first=options.first, processes=options.processes)
    traces: list[dict[int, str]] = []
    for hash_seed in ("1", "2"):
        os.environ["PYTHONHASHSEED"] = hash_seed
        with workers(again, "--hash-check", "1") as pipes:
            traces.append({row["seed"]: row["hash"] for row in lines(pipes) if "hash" in row})
    os.environ.pop("PYTHONHASHSEED")
    first, second = traces
    differ = sorted(seed for seed in first if first[seed] != second.get(seed))
    missing = options.hash_check - len(first)
    return {"days": len(first), "differ": differ + ["missing"] * bool(missing)}


def replay(seed: int) -> int:
    """One day, with the end of its trace on the standard error."""
    world = live(seed, limits(), TAIL)
    for line in world.tail:
        print(line, file=sys.stderr)
    told = {
        "campaign": "sim",
        "seed": seed,
        "hash": world.trace_hash(),
        "faults": dict(world.faults.counts),
        "simulated_s": round(world.now_ns / 1e9, 1),
        "breaks": world.checker.breaks,
        "replay": f"{COMMAND} --seed {seed}",
    }
    print(json.dumps(told))
    return int(bool(world.checker.breaks))


if __name__ == "__main__":
    sys.exit(main())
