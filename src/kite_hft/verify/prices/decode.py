"""Layer 6, verify processes, cold: our Kite decoder against the official client's, frame by frame.

    python -m kite_hft.verify decode --broker kite --frames 1e6 [--seed N]

(`--broker upstox` is decode_upstox.py, with options of its own: see its --help.)

Every frame of decode_cases.py is decoded by `KiteDecoder` (both code paths: equal bytes) and its
good packets by pykiteconnect's `KiteTicker._parse_binary`; each dict must agree in every key, and
every counter must move by exactly what the generator says. One in five frames is malformed.

Coverage: each value of each field of each packet kind in each segment must have been compared at
least 1,000 times in a run of 10^6 frames (in proportion below that, at least once from 1,000
frames on), and each malformed class must have been counted in at least 1 of 100 frames.

One JSON line on stdout; the coverage table and progress on stderr. Exit 0: passed, 1: a miss
(with the command that replays it), 2: cannot run.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np

from kite_hft._kite_decode import KiteDecoder
from kite_hft.brokers.kite.wire import tick_dict
from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import TickFlag
from kite_hft.verify.campaign import show_progress
from kite_hft.verify.prices import decode_cases as cases
from kite_hft.verify.prices import decode_upstox

CELL_MIN_PER_MILLION: Final = 1000
MISSES_MAX: Final = 5
CONNECTION: Final = 2
COUNTED: Final = ("received", "decoded", *cases.MUTATIONS)
TICK_GROUPS: Final = {
    "ltp": TickFlag(0),
    "index quote": TickFlag.OHLC,
    "index full": TickFlag.OHLC,
    "quote": TickFlag.TRADE | TickFlag.OHLC,
    "full": TickFlag.TRADE | TickFlag.OHLC | TickFlag.DEPTH | TickFlag.OI,
}


def packet_times(packet: cases.Packet) -> list[int]:
    """Epoch seconds on the wire: none, exchange time, or last trade and exchange time."""
    assert packet.kind is not None
    return [v for v, name in zip(packet.values, packet.kind.classes, strict=True) if name == "time"]


def expected_flags(packet: cases.Packet) -> int:
    """TICK.flags from the packet's kind, segment and times."""
    assert packet.kind is not None
    flags = TICK_GROUPS[packet.kind.name]
    if packet.token & 0xFF == 9:
        flags |= TickFlag.INDEX
    times = packet_times(packet)
    if times and times[-1]:
        flags |= TickFlag.EXCHANGE_TIME
    if len(times) == 2 and times[0]:
        flags |= TickFlag.LAST_TRADE_TIME
    return int(flags)


def official_client() -> Any:
    """A KiteTicker that is never connected.

    Raises:
        ModuleNotFoundError: the official client is not installed.
    """
    return importlib.import_module("kiteconnect").KiteTicker("key", "token")


@dataclass(frozen=True)
class Decoders:
    """The three that must agree: ours, its portable path, the official client."""

    ours: KiteDecoder
    portable: KiteDecoder
    official: Any


def check_case(case: cases.Case, decoders: Decoders, slots: dict[int, int], turn: int) -> str:
    """Decodes one frame with all; what differs, or an empty string."""
    decoder = decoders.ours
    before = counters(decoder)
    ticks = decoder.decode_frame(case.frame, turn, turn % 7)
    if ticks.tobytes() != decoders.portable.decode_frame(case.frame, turn).tobytes():
        return f"the {decoder.path} path differs from the portable one"
    moved = {k: n - before[k] for k, n in counters(decoder).items() if n != before[k]}
    if moved != case.counts:
        return f"counters moved by {moved}, expected {case.counts}"
    good = case.survivors
    if not good:
        return "" if len(ticks) == 0 else f"{len(ticks)} ticks out of nothing"
    if ticks["slot"].tolist() != [slots[packet.token] for packet in good]:
        return f"slots {ticks['slot'].tolist()}"
    if ticks["kind"].tolist() != [packet.kind.number for packet in good if packet.kind]:
        return f"kinds {ticks['kind'].tolist()}"
    if ticks["flags"].tolist() != [expected_flags(packet) for packet in good]:
        return f"flags {ticks['flags'].tolist()}"
    # The dict shows whole seconds only.
    if ticks["exch_ns"].tolist() != [[0, *packet_times(packet)][-1] * 10**9 for packet in good]:
        return f"exch_ns {ticks['exch_ns'].tolist()}"
    if (ticks["recv_ns"] != turn).any() or (ticks["connection"] != CONNECTION).any() or ticks["seq"].any():
        return "recv_ns, connection or seq"
    ours = [tick_dict(tick, packet.token) for tick, packet in zip(ticks, good, strict=True)]
    head = len(good).to_bytes(2, "big")
    theirs = decoders.official._parse_binary(head + b"".join(packet.wire for packet in good))
    # 5 == 5.0, so types and the order of keys are compared too, on a part of the frames.
    if ours != theirs or (turn % 16 == 0 and repr(ours) != repr(theirs)):
        return f"ours {ours} official client {theirs}"
    return ""


def counters(decoder: KiteDecoder) -> dict[str, int]:
    """The decoder's counts by the names of `COUNTED`."""
    all_counts = decoder.counts()
    return {n: all_counts[n] if n in all_counts else all_counts[f"malformed_{n}"] for n in COUNTED}


def expected_checksum(block: cases.Block) -> int:
    """From the generator's own values; volume is field 4 of tradable quote and full packets."""
    good = [packet for case in block.cases for packet in case.survivors]
    volumes = [packet.values[3] if packet.kind and packet.kind.number >= 4 else 0 for packet in good]
    return tick_checksum([p.token for p in good], [p.values[0] for p in good], volumes)


def run_blocks(seed: int, frames: int, numbers: range, progress: Callable[[int], None]) -> dict[str, Any]:
    """The blocks `numbers` of a run, in this process; `progress` is told the frames of each block."""
    slots = {int(token): slot for slot, token in enumerate(cases.TOKENS)}
    # Slots that differ from the order of the tokens, to see that they are looked up.
    slots = {token: len(slots) - slot for token, slot in slots.items()}
    tokens = np.array(list(slots), np.uint32)
    places = np.array([slots[token] for token in tokens.tolist()], np.uint32)
    decoder = KiteDecoder(tokens, places, CONNECTION)
    portable = KiteDecoder(tokens, places, CONNECTION, portable=True)
    decoders = Decoders(decoder, portable, official_client())
    widths = {name: len(values) for name, values in cases.VALUES.items()}
    totals = [np.zeros((len(kind.classes), max(widths.values())), np.int64) for kind, _ in cases.groups()]
    misses: list[dict[str, Any]] = []
    expected = dict.fromkeys(COUNTED, 0)
    for number in numbers:
        block_frames = min(cases.BLOCK_FRAMES, frames - number * cases.BLOCK_FRAMES)
        block = cases.make_block(seed, number, block_frames)
        checksum = decoder.checksum
        for turn, case in enumerate(block.cases):
            for name, n in case.counts.items():
                expected[name] += n
            if what := check_case(case, decoders, slots, turn):
                misses.append({"block": number, "frame": turn, "hex": case.frame.hex(), "what": what})
        if (decoder.checksum - checksum) % 2**64 != expected_checksum(block):
            misses.append({"block": number, "what": "checksum"})
        cases.count_coverage(block, totals)
        if decoder.counts() != portable.counts():
            misses.append({"block": number, "what": "counters of the portable path"})
        if len(misses) >= MISSES_MAX:
            break
        progress(block_frames)
    return {
        "misses": misses[:MISSES_MAX],
        "expected": expected,
        "counted": counters(decoder),
        "path": decoder.path,
        "coverage": [total.tolist() for total in totals],
    }


def run_workers(seed: int, frames: int, workers: int) -> dict[str, Any]:
    """The same over `workers` processes; blocks are dealt out in turn, so seeds do not change."""
    command = [
        sys.executable,
        "-m",
        "kite_hft.verify.prices.decode",
        "--frames",
        str(frames),
        "--seed",
        str(seed),
    ]
    running = [
        subprocess.Popen([*command, "--share", f"{i}/{workers}"], stdout=subprocess.PIPE, text=True)
        for i in range(workers)
    ]
    results: list[dict[str, Any]] = []
    done = 0
    try:
        open_pipes = {process.stdout for process in running if process.stdout}
        while open_pipes:
            for pipe in list(open_pipes):
                line = pipe.readline()
                if not line:
                    open_pipes.discard(pipe)
                    continue
                message = json.loads(line)
                if "misses" in message:
                    results.append(message)
                else:
                    done += message["frames"]
                    show_progress(done, frames, "frames")
    finally:
        for process in running:
            process.kill()
            process.wait()
            if process.stdout:
                process.stdout.close()
    if len(results) != workers:
        raise RuntimeError(f"{workers - len(results)} of {workers} workers died")
    return {
        "misses": [miss for result in results for miss in result["misses"]],
        "expected": {n: sum(r["expected"][n] for r in results) for n in COUNTED},
        "path": results[0]["path"],
        "counted": {n: sum(r["counted"][n] for r in results) for n in COUNTED},
        "coverage": [
            np.sum([r["coverage"][group] for r in results], axis=0).tolist()
            for group in range(len(cases.groups()))
        ],
    }


def tell_parent(frames: int) -> None:
    """One line of a worker's stdout."""
    print(json.dumps({"frames": frames}), flush=True)


def cell_minima(coverage: list[Any]) -> dict[tuple[int, str, str], int]:
    """(group, class, value) -> least count over the fields of that class."""
    minima: dict[tuple[int, str, str], int] = {}
    for group, column, name, label in cases.coverage_cells():
        count = coverage[group][column][list(cases.VALUES[name]).index(label)]
        key = (group, name, label)
        minima[key] = min(count, minima.get(key, count))
    return minima


def print_table(minima: dict[tuple[int, str, str], int]) -> None:
    """Packet kind and segment down, extreme value across; least count over the fields of a class."""
    names = [name for name in cases.VALUES if name != "unread"]
    columns = [(name, label) for name in names for label in cases.VALUES[name]]
    print("least number of comparisons of any field, by class of field and value", file=sys.stderr)
    print(" " * 18 + "".join(f"{name:>7}" for name, _ in columns), file=sys.stderr)
    print(f"{'packet':<12}{'seg':>5} " + "".join(f"{label:>7}" for _, label in columns), file=sys.stderr)
    for group, (kind, segment) in enumerate(cases.groups()):
        cells = "".join(f"{minima.get((group, *column), '-'):>7}" for column in columns)
        print(f"{kind.name:<12}{segment:>5} {cells}", file=sys.stderr)


def parse(argv: list[str]) -> argparse.Namespace:
    """Arguments of the command line; numbers like 1e6 are welcome."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify decode")
    parser.add_argument(
        "--broker", choices=["kite", "upstox"], default="kite", help="upstox has other options: add --help"
    )
    parser.add_argument("--frames", type=lambda text: int(float(text)), default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--block", type=int, help="replay only this block of the run")
    parser.add_argument("--share", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.frames < 1 or options.workers < 1 or options.seed < 0:
        parser.error("--frames and --workers start at 1, --seed at 0")
    return options


def summary(options: argparse.Namespace, result: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The JSON line, with the verdict in `pass`."""
    whole = options.block is None and options.frames >= 1000
    minima = cell_minima(result["coverage"])
    cell_required = max(1, CELL_MIN_PER_MILLION * options.frames // 1_000_000) if whole else 0
    class_required = options.frames // 100 if whole else 0
    malformed = {name: result["counted"][name] for name in cases.MUTATIONS}
    print_table(minima)
    passed = (
        not result["misses"]
        and result["counted"] == result["expected"]
        and min(minima.values()) >= cell_required
        and min(malformed.values()) >= class_required
    )
    return {
        "verify": "decode",
        "broker": options.broker,
        "pass": passed,
        "frames": options.frames,
        "packets": result["counted"]["received"],
        "ticks_compared": result["counted"]["decoded"],
        "seed": options.seed,
        "path": result["path"],
        "oracle": f"kiteconnect {version('kiteconnect')}",
        "misses": result["misses"],
        "cells": len(cases.coverage_cells()),
        "cell_least": min(minima.values()),
        "cell_required": cell_required,
        "malformed": malformed,
        "malformed_expected": {name: result["expected"][name] for name in cases.MUTATIONS},
        "malformed_required": class_required,
        "seconds": round(seconds, 1),
    }


def main(argv: list[str]) -> int:
    """Runs the campaign; returns the exit code."""
    if "upstox" in argv or "--broker=upstox" in argv:
        return decode_upstox.main(argv)
    options = parse(argv)
    blocks = -(-options.frames // cases.BLOCK_FRAMES)
    try:
        if options.share:
            first, step = map(int, options.share.split("/"))
            numbers = range(first, blocks, step)
            print(json.dumps(run_blocks(options.seed, options.frames, numbers, tell_parent)))
            return 0
        started = time.monotonic()
        official_client()
        if options.block is not None or min(options.workers, blocks) == 1:
            numbers = range(blocks) if options.block is None else range(options.block, options.block + 1)
            result = run_blocks(options.seed, options.frames, numbers, lambda frames: None)
        else:
            result = run_workers(options.seed, options.frames, min(options.workers, blocks))
    except ModuleNotFoundError as error:
        print(f"{error}: the official client is the oracle; pip install kiteconnect", file=sys.stderr)
        return 2
    line = summary(options, result, time.monotonic() - started)
    print(json.dumps(line))
    if line["pass"]:
        return 0
    replay = f"python -m kite_hft.verify decode --broker kite --frames {options.frames} --seed {options.seed}"
    blocks_missed = [miss["block"] for miss in result["misses"]]
    replay += f" --block {blocks_missed[0]}" if blocks_missed else ""
    print(f"decode: MISSED. Replay: {replay}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
