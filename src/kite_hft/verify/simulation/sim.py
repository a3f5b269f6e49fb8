"""Layer 6, by hand or CI, cold: `verify sim`: short trading days of the order path, one from each seed.

Each seed is a day in virtual time (sim/order_path): the real order stage and the real journal writer on
a virtual clock, network and disk, against the simulated broker, whose books are the truth. Each seed has
its own subset of faults and its own rates. Checkers that share no code with the engine look at every
call, every journal record and every trade, and at everything once the faults have ended:

  no order without a wish, a pass of the gate and a journal record before it; never two orders of one
  intent; the broker's windows kept; nothing opens while it must not, and exits pass; positions,
  executions and money equal the exchange's to the paisa; the journal gives the same book; absence is
  true; every intent and every order has one story, which its strategy was told; everything comes to rest.

Ctrl-C tells what was found so far. `--keep FILE` keeps it as well: the same command with the same file
goes on where it ended, and `--add FILE FILE ...` tells several files (parts of one campaign by `--first`,
on one machine or many) as one (sittings.py).

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
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import side_of
from kite_hft.sim.order_path.faults import KINDS, STATES, can_meet
from kite_hft.sim.order_path.world import OrdersWorld
from kite_hft.trading.broker import Limits
from kite_hft.verify.brokers.choosing import add_broker, limits_of, words_of
from kite_hft.verify.campaign import CampaignError, show_progress
from kite_hft.verify.simulation.sittings import Campaign, Span, Sums, added, code_of, gone_on

PROGRESS: Final = 10
KEPT_EVERY_S: Final = 10.0
BREAKS_TOLD: Final = 10
TAIL: Final = 60
COMMAND: Final = "python -m kite_hft.verify sim"


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog=COMMAND, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_broker(made)
    made.add_argument("--seeds", type=int, default=1000, help="how many days (default 1000)")
    made.add_argument("--first", type=int, default=0, metavar="K", help="the first seed (default 0)")
    made.add_argument("--seed", type=int, metavar="S", help="only this day, with the end of its trace")
    made.add_argument("--processes", type=int, default=2, help="share the days (default 2)")
    made.add_argument("--hash-check", type=int, default=0, metavar="N", help="run N days twice")
    made.add_argument("--mutants", action="store_true", help="plant bugs, and ask that each is found")
    made.add_argument("--only", default="", metavar="NAME", help="with --mutants: this one")
    made.add_argument("--table", action="store_true", help="tell the whole table fault x state")
    made.add_argument("--keep", type=Path, metavar="FILE", help="keep what is found; go on from it")
    made.add_argument("--add", type=Path, nargs="+", metavar="FILE", help="tell kept files as one")
    made.add_argument("--part", default="", metavar="SPANS", help=argparse.SUPPRESS)
    return made


def limits(side: BrokerSide = KITE_SIDE) -> Limits:
    """The broker's limits that the days begin with."""
    return limits_of(side)


def command_of(options: argparse.Namespace) -> str:
    """The command with its broker."""
    return COMMAND + words_of(side_of(options.broker))


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is asked; one JSON line. Returns 1 on a break, a differing trace or a mutant that lives, 2 if
    a kept file does not fit."""
    options = parser().parse_args(argv)
    try:
        return _run(options)
    except CampaignError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return 2


def _run(options: argparse.Namespace) -> int:
    if options.part:
        return part(options)
    if options.add:
        whole = added(options.add)
        print(
            json.dumps(told := summary(argparse.Namespace(**vars(options) | {"broker": whole.broker}), whole))
        )
        return int(bool(told["breaks"]))
    if options.seed is not None:
        return replay(options.seed, side_of(options.broker))
    if options.mutants:
        from kite_hft.verify.simulation.mutants import campaign

        side = side_of(options.broker)
        return campaign(limits(side), options.only, options.processes, side)
    return days(options)


# One process's days


def live(seed: int, table: Limits, trace: int = 0, side: BrokerSide = KITE_SIDE) -> OrdersWorld:
    """One day, lived through."""
    world = OrdersWorld(seed, table, trace=trace, side=side)
    world.run()
    return world


def part(options: argparse.Namespace) -> int:
    """The days of one process: a line for each break, and one with the sums of each few days."""
    gc.disable()  # a day's objects go together, when it is over: the next day is made in their place
    try:
        _part(options)
    except KeyboardInterrupt:
        return 130  # what was told before stands
    return 0


def _part(options: argparse.Namespace) -> None:
    side = side_of(options.broker)
    table = limits(side)
    gc.freeze()  # what outlives all days is not looked through after each
    for span in json.loads(options.part):
        for first, n in pieces(*span):
            found = Sums()
            for seed in range(first, first + n):
                _lived(live(seed, table, side=side), found, options)
                gc.collect()
            print(json.dumps({"first": first, "seeds": n, "sums": found.told()}), flush=True)


def _lived(world: OrdersWorld, sums: Sums, options: argparse.Namespace) -> None:
    """Take in one day."""
    sums.counts.update(world.faults.counts)
    for (kind, state), n in world.faults.table.items():
        sums.table[f"{kind} {state}"] += n
    sums.others["orders"] += len(world.checker.ledger.placed)
    sums.others["intents"] += len(world.checker.wishes)
    sums.others["trades"] += len(world.exchange.account.trades)
    sums.others["simulated_s"] += world.now_ns // 10**9
    if world.checker.breaks:
        print(json.dumps({"seed": world.seed, "breaks": world.checker.breaks[:3]}), flush=True)
    if options.hash_check:
        print(json.dumps({"seed": world.seed, "hash": world.trace_hash()}), flush=True)


def pieces(first: int, n: int) -> Iterator[Span]:
    """A span in parts of a few days, after each of which is told what they add up to."""
    for at in range(0, n, PROGRESS):
        yield first + at, min(PROGRESS, n - at)


# All processes


def shares(spans: Sequence[Span], processes: int) -> list[list[Span]]:
    """What each process lives of these days: as many as the others, give or take one."""
    each, more = divmod(sum(n for _, n in spans), processes)
    waiting, found = list(spans), []
    for number in range(processes):
        mine, room = [], each + (number < more)
        while room:
            first, n = waiting.pop(0)
            mine.append((first, min(n, room)))
            if n > room:
                waiting.insert(0, (first + room, n - room))
            room -= mine[-1][1]
        if mine:
            found.append(mine)
    return found


@contextlib.contextmanager
def workers(options: argparse.Namespace, spans: Sequence[Span], *more: str) -> Iterator[list[IO[str]]]:
    """The processes' lines; none outlives this."""
    with contextlib.ExitStack() as held:
        found = []
        for mine in shares(spans, max(1, options.processes)):
            command = [sys.executable, "-m", "kite_hft.verify", "sim", "--part", json.dumps(mine)]
            command += ["--broker", options.broker, *more]
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
    campaign = gone_on(options.keep, options.broker) if options.keep else Campaign(options.broker, code_of())
    interrupted = live_through(campaign, campaign.lacking(options.first, options.seeds), options)
    told = summary(options, campaign)
    left = campaign.lacking(options.first, options.seeds)
    if left:
        told["interrupted" if interrupted else "wrong"] = "not all days were lived"
        told["go_on"] = [f"{command_of(options)} --first {first} --seeds {n}" for first, n in left]
        if options.keep:
            told["go_on"] = ["the same command: what was lived is kept"]
    differ = False
    if options.hash_check and not interrupted:
        told["hash_check"] = checked = hash_check(options)
        differ = bool(checked["differ"])
    print(json.dumps(told))
    return int(bool(campaign.breaks or left) or differ)


def live_through(campaign: Campaign, spans: list[Span], options: argparse.Namespace) -> bool:
    """Live these days in all processes, and keep what they say; True: somebody has interrupted it."""
    began, before, said = time.monotonic(), campaign.done, campaign.seconds
    of, kept_s, interrupted = before + sum(n for _, n in spans), 0.0, False
    broken: dict[int, dict[str, Any]] = {}
    try:
        with workers(options, spans) as pipes:
            for row in lines(pipes):
                if "breaks" in row:
                    broken[int(row["seed"])] = row
                if "sums" not in row:
                    continue
                # A break counts with its piece: what is left out is lived again, and would break again.
                mine = range(row["first"], row["first"] + row["seeds"])
                campaign.breaks += [broken.pop(seed) for seed in mine if seed in broken]
                campaign.lived(row["first"], row["seeds"], row["sums"])
                seconds = time.monotonic() - began
                campaign.seconds = said + seconds
                show(campaign, of, (campaign.done - before) / max(seconds, 1e-9))
                if options.keep and seconds - kept_s >= KEPT_EVERY_S:
                    kept_s = seconds
                    campaign.keep(options.keep)
    except KeyboardInterrupt:
        interrupted = True
    campaign.seconds = said + time.monotonic() - began
    if options.keep:
        campaign.keep(options.keep)
    campaign.breaks += broken.values()  # of pieces that were cut short: told, not kept
    return interrupted


def pairs_of(campaign: Campaign) -> dict[tuple[str, str], int]:
    """How often each kind of fault has met each state that it can meet."""
    side = side_of(campaign.broker)
    return {
        (kind, state): campaign.sums.table.get(f"{kind} {state}", 0)
        for kind in KINDS
        for state in STATES
        if can_meet(kind, state) and kind not in side.without
    }


def summary(options: argparse.Namespace, campaign: Campaign) -> dict[str, Any]:
    """What is told of a campaign."""
    side, sums, breaks = side_of(campaign.broker), campaign.sums, campaign.breaks
    pairs, done = pairs_of(campaign), campaign.done
    empty = [f"{kind} x {state}" for (kind, state), n in pairs.items() if not n]
    told: dict[str, Any] = {
        "campaign": "sim",
        "broker": options.broker,
        "seeds": done,
        "first": campaign.spans[0][0] if campaign.spans else options.first,
        "spans": campaign.spans,
        "code": campaign.code,
        "processes": options.processes,
        "seeds_per_s": round(done / max(campaign.seconds, 1e-9), 2),
        "seconds": round(campaign.seconds, 1),
        "faults": sum(sums.counts.values()),
        "faults_per_seed": round(sum(sums.counts.values()) / max(done, 1), 1),
        "faults_by_kind": {kind: sums.counts.get(kind, 0) for kind in KINDS},
        **sums.others,
        "pairs_hit": len(pairs) - len(empty),
        "pairs": len(pairs),
        "pairs_empty": empty,
        "stands_for": dict(side.stands_for),
        "without": dict(side.without),
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
        told["replay"] = f"{command_of(options)} --seed {worst[0]['seed']}"
    return told


def show(campaign: Campaign, of: int, rate: float) -> None:
    """Progress, on a terminal alone."""
    pairs = pairs_of(campaign)
    hit, faults = sum(n > 0 for n in pairs.values()), sum(campaign.sums.counts.values())
    words = (
        f"days, {rate:.1f}/s, {faults:,} faults, {hit} of {len(pairs)} pairs, {len(campaign.breaks)} breaks "
    )
    show_progress(campaign.done, of, words)


def hash_check(options: argparse.Namespace) -> dict[str, Any]:
    """Days lived twice, each time in processes with another order of Python's sets of texts."""
    spans = [(options.first, options.hash_check)]
    traces: list[dict[int, str]] = []
    for hash_seed in ("1", "2"):
        os.environ["PYTHONHASHSEED"] = hash_seed
        with workers(options, spans, "--hash-check", "1") as pipes:
            traces.append({row["seed"]: row["hash"] for row in lines(pipes) if "hash" in row})
    os.environ.pop("PYTHONHASHSEED")
    first, second = traces
    differ = sorted(seed for seed in first if first[seed] != second.get(seed))
    missing = options.hash_check - len(first)
    return {"days": len(first), "differ": differ + ["missing"] * bool(missing)}


def replay(seed: int, side: BrokerSide) -> int:
    """One day, with the end of its trace on the standard error."""
    world = live(seed, limits(side), TAIL, side)
    for line in world.tail:
        print(line, file=sys.stderr)
    told = {
        "campaign": "sim",
        "seed": seed,
        "hash": world.trace_hash(),
        "faults": dict(world.faults.counts),
        "simulated_s": round(world.now_ns / 1e9, 1),
        "breaks": world.checker.breaks,
        "replay": f"{COMMAND}{words_of(side)} --seed {seed}",
    }
    print(json.dumps(told))
    return int(bool(world.checker.breaks))


if __name__ == "__main__":
    sys.exit(main())
