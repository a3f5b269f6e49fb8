"""Layer 6, verify processes, cold: our Upstox decoder against protobuf and the official SDK's schema.

    python -m kite_hft.verify decode --broker upstox --messages 1e6 [--seed N]
    python -m kite_hft.verify decode --broker upstox --fuzz 1e7 [--seed N]

--messages: frames of upstox_cases.py are decoded by `UpstoxDecoder` (both code paths: equal bytes, and
the same when it pauses after each tick) and parsed by the SDK's own message class; what that found is
put into ticks and AUX records by upstox_meaning.py, and all must agree, every counter included. One
frame in eight is spoiled: the decoder must count it as malformed exactly when protobuf refuses it.

Coverage: each extreme of each field of each branch must have been in a compared message, 500 times in
a run of 10^6 messages (in proportion below that), and each unusual shape in one of 200.

--fuzz: spoiled frames alone, and bytes at random, many times faster: never a crash, accounts that
hold, the same ticks on both paths and however often it pauses, and protobuf's verdict on every input.
With --engine atheris (upstox_guided.py) libFuzzer thinks of them.

One JSON line on stdout; coverage on stderr. Exit 0: passed, 1: a miss (with the command that replays
it), 2: cannot run.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from kite_hft.verify.prices import upstox_cases as cases
from kite_hft.verify.prices.upstox_bench import Bench, sdk_parser

BLOCK: Final = 5000
MISSES_MAX: Final = 5
CELL_MIN_PER_MILLION: Final = 500
SHAPE_ONE_IN: Final = 200


def run_blocks(seed: int, messages: int, numbers: range) -> dict[str, Any]:
    """The blocks `numbers` of a run, in this process."""
    table = cases.cells()
    covered, shapes = [0] * len(table), Counter[str]()
    misses: list[dict[str, Any]] = []
    frames = 0
    bench = Bench()
    for number in numbers:
        rng, maker = random.Random(f"{seed} {number}"), cases.Maker(seed * 1_000_003 + number)
        order = [i % len(table) for i in range(number * BLOCK, min(messages, (number + 1) * BLOCK))]
        rng.shuffle(order)
        bench.reset()
        while order:
            chosen = [order.pop() for _ in range(min(len(order), rng.randrange(1, cases.FEEDS_MAX + 1)))]
            frame = cases.make_frame(rng, maker, chosen, table)
            frames += 1
            if what := bench.check(frame.data, frames):
                misses.append(
                    {"block": number, "frame": frames, "hex": frame.data.hex(), "what": what[:2000]}
                )
                bench = Bench()
            if not frame.is_cut:
                shapes.update(frame.shapes)
                for cell, shape in zip(frame.cells, frame.shapes, strict=True):
                    covered[cell] += shape != "unknown key"
        if len(misses) >= MISSES_MAX:
            break
    counts = bench.ours.counts() | {"malformed": bench.counts["malformed"], "frames": frames}
    return {"misses": misses[:MISSES_MAX], "counts": counts, "covered": covered, "shapes": dict(shapes)}


def run_fuzz(seed: int, inputs: int, part: int) -> dict[str, Any]:
    """Spoiled frames, each from one that a block would check, and bytes at random."""
    rng, maker = random.Random(f"fuzz {seed} {part}"), cases.Maker(seed * 7919 + part)
    table, bench = cases.cells(), Bench()
    misses: list[dict[str, Any]] = []
    refused = 0
    sound: list[bytes] = []
    names = ("decoded", "unknown_instrument", "malformed_price_range", "malformed_not_finite")
    ours, portable, parse = bench.ours, bench.portable, bench.parse
    for turn in range(inputs):
        if turn % 4096 == 0:
            sound = [
                cases.make_frame(rng, maker, rng.sample(range(len(table)), rng.randrange(1, 4)), table).data
                for _ in range(64)
            ]
        frame = cases.spoiled(rng, rng.choice(sound)) if turn % 16 else rng.randbytes(rng.randrange(40))
        before = int(ours.malformed["message"])
        ticks = ours.decode_frame(frame, turn)
        is_malformed = int(ours.malformed["message"]) - before
        try:
            parse(frame)
            expected = 0
        except Exception:
            expected = 1
        refused += expected
        same = ticks.tobytes() == portable.decode_frame(frame, turn, turn % 3).tobytes()
        counts = ours.counts() if turn % 64 == 0 else None
        accounts = counts is None or counts["received"] == sum(counts[name] for name in names)
        if is_malformed != expected or not same or not accounts:
            what = f"malformed {is_malformed}, protobuf {expected}, paths equal {same}, accounts {accounts}"
            misses.append({"block": part, "frame": turn, "hex": frame.hex(), "what": what})
            if len(misses) >= MISSES_MAX:
                break
    return {"misses": misses, "counts": {"inputs": inputs, "refused": refused, "ticks": ours.decoded}}


# ---- the run


def shared(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The run over `options.workers` processes."""
    command = [sys.executable, "-m", "kite_hft.verify.prices.decode_upstox", "--seed", str(options.seed)]
    command += ["--fuzz", str(options.fuzz)] if options.fuzz else ["--messages", str(options.messages)]
    running = [
        subprocess.Popen([*command, "--share", f"{i}/{options.workers}"], stdout=subprocess.PIPE, text=True)
        for i in range(options.workers)
    ]
    try:
        lines = [process.communicate()[0] for process in running]
    finally:
        for process in running:
            process.kill()
            process.wait()
    if any(process.returncode for process in running):
        raise RuntimeError("a worker died: " + ", ".join(f"exit code {p.returncode}" for p in running))
    return [json.loads(line) for line in lines]


def share(options: argparse.Namespace) -> dict[str, Any]:
    """This process's part of the run."""
    at, of = map(int, (options.share or "0/1").split("/"))
    if options.fuzz:
        return run_fuzz(options.seed, options.fuzz // of + (at < options.fuzz % of), at)
    blocks = -(-options.messages // BLOCK)
    numbers = range(at, blocks, of)
    if options.block is not None:
        numbers = range(options.block, options.block + 1)
    return run_blocks(options.seed, options.messages, numbers)


def guided(options: argparse.Namespace, started: float) -> int:
    """The inputs of atheris, in a process of their own; returns the exit code."""
    if importlib.util.find_spec("atheris") is None:
        print("decode: atheris is not installed here: pip install atheris", file=sys.stderr)
        return 2
    inputs = options.fuzz or 100_000
    command = [sys.executable, "-m", "kite_hft.verify.prices.upstox_guided", str(inputs), str(options.seed)]
    done = subprocess.run(command, stdout=sys.stderr, check=False)
    line = {"verify": "decode", "broker": "upstox", "engine": "atheris", "pass": done.returncode == 0}
    line |= {"fuzz": inputs, "seed": options.seed, "seconds": round(time.monotonic() - started, 1)}
    print(json.dumps(line))
    return int(done.returncode != 0)


def print_coverage(covered: list[int], shapes: dict[str, int]) -> None:
    """Branch and class of field down, extreme across: the least count over the fields of the class."""
    least: dict[tuple[str, str], dict[str, int]] = {}
    for cell, n in zip(cases.cells(), covered, strict=True):
        row = least.setdefault((cell.branch, cell.kind), {})
        row[cell.label] = min(n, row.get(cell.label, n))
    print("least number of compared messages of any field, by branch, class and extreme", file=sys.stderr)
    for (branch, kind), row in least.items():
        told = "  ".join(f"{label} {n}" for label, n in row.items())
        print(f"{branch:12}{kind:8}{told}", file=sys.stderr)
    print("shapes: " + "  ".join(f"{name} {n}" for name, n in sorted(shapes.items())), file=sys.stderr)


def summary(options: argparse.Namespace, results: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """The JSON line, with the verdict in `pass`."""
    misses = [miss for result in results for miss in result["misses"]]
    counts: Counter[str] = Counter()
    for result in results:
        counts.update({name: n for name, n in result["counts"].items() if name != "checksum_decoded"})
    line: dict[str, Any] = {
        "verify": "decode",
        "broker": "upstox",
        "pass": not misses,
        "seed": options.seed,
        "oracle": f"upstox-python-sdk {version('upstox-python-sdk')}, protobuf {version('protobuf')}",
        "misses": misses[:MISSES_MAX],
        "counts": {name: n for name, n in counts.items() if n},
        "seconds": round(seconds, 1),
    }
    if options.fuzz:
        return line | {"fuzz": options.fuzz}
    covered = np.sum([result["covered"] for result in results], axis=0).tolist()
    shapes = sum((Counter(result["shapes"]) for result in results), Counter[str]())
    print_coverage(covered, shapes)
    whole = options.block is None
    wanted = max(1, CELL_MIN_PER_MILLION * options.messages // 10**6) if whole else 0
    shapes_wanted = options.messages // SHAPE_ONE_IN if whole else 0
    shape_least = min(shapes[name] for name in cases.SHAPES)
    line |= {"messages": options.messages, "cells": len(covered), "cell_least": min(covered)}
    line |= {"cell_required": wanted, "shape_least": shape_least, "shape_required": shapes_wanted}
    line["pass"] = not misses and min(covered) >= wanted and shape_least >= shapes_wanted
    return line


def parse(argv: list[str]) -> argparse.Namespace:
    """Arguments of the command line; numbers like 1e6 are welcome."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify decode --broker upstox")
    number = lambda text: int(float(text))  # noqa: E731
    parser.add_argument("--broker", choices=["upstox"], default="upstox")
    parser.add_argument(
        "--messages", "--frames", type=number, default=20_000, help="compare so many (default 20000)"
    )
    parser.add_argument("--fuzz", type=number, default=0, help="so many spoiled inputs instead")
    parser.add_argument(
        "--engine", choices=["random", "atheris"], default="random", help="what thinks of the --fuzz inputs"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--block", type=int, help="replay only this block of the run")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.messages < 1 or options.workers < 1 or options.seed < 0 or options.fuzz < 0:
        parser.error("--messages and --workers start at 1, --seed and --fuzz at 0")
    return options


def main(argv: list[str]) -> int:
    """Runs the campaign; returns the exit code."""
    options = parse(argv)
    started = time.monotonic()
    try:
        sdk_parser()
    except ModuleNotFoundError as error:
        print(f"{error}: the official SDK is the oracle; pip install upstox-python-sdk", file=sys.stderr)
        return 2
    if options.share:
        print(json.dumps(share(options)))
        return 0
    if options.engine == "atheris":
        return guided(options, started)
    alone = options.block is not None or options.workers == 1
    results = [share(options)] if alone else shared(options)
    line = summary(options, results, time.monotonic() - started)
    print(json.dumps(line))
    if line["pass"]:
        return 0
    what = f"--fuzz {options.fuzz}" if options.fuzz else f"--messages {options.messages}"
    replay = f"python -m kite_hft.verify decode --broker upstox {what} --seed {options.seed}"
    if line["misses"] and not options.fuzz:
        replay += f" --block {line['misses'][0]['block']}"
    print(f"decode: MISSED. Replay: {replay}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
