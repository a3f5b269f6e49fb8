"""Layer 6, a face for people, cold: does the ring keep its promise between two real processes?

`python -m kite_hft.verify ring --messages N` runs a writer and a reader (verify/memory/ring_worker.py),
pinned to different cores where the machine has them:

  paced    the writer watches the reader's position and never overwrites what is unread:
           got = produced, lost = 0, torn = 0;
  stalled  the reader lets the writer lap it again and again and reads where the writer writes:
           got + lost = produced, at least half lost, torn = 0;
  faults   three rings that are broken on purpose: the same check must catch each of them.

One JSON line on standard output; exit code 0 only when everything held.
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
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from kite_hft import _counters
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.verify.memory.ring_worker import DRAIN_MAX, READER_POSITION, WRITER_POSITION

BATCH: Final = 100
CAPACITY: Final = 1 << 16
SMALL_CAPACITY: Final = 1 << 11
"""Small enough that a lapped reader and the writer meet on the same records all the time."""
TINY_CAPACITY: Final = 1 << 8
NO_PROGRESS_S: Final = 60.0
FAULT_TRIES: Final = 6
FAULT_MESSAGES: Final = 200_000
WORKER: Final = "from kite_hft.verify.memory.ring_worker import run; run()"

_LAPPED: Final = {
    "paced": False,
    "capacity": TINY_CAPACITY,
    "batch": TINY_CAPACITY // 2,
    "drain": 40,
    "drains": 8,
}
FAULTS: Final[dict[str, dict[str, Any]]] = {
    "head_before_data": {"paced": True, "capacity": SMALL_CAPACITY},
    "no_validation": _LAPPED,
    "no_odd_mark": _LAPPED,
}
"""Broken form -> the traffic in which it shows (arguments of run_pair). A missing odd mark shows only
while a batch is being written: long batches, copies shorter than one, several looks per lap."""


def memory_directory() -> Path:
    """A tmpfs where there is one."""
    shm = Path("/dev/shm")
    return shm if shm.is_dir() and os.access(shm, os.W_OK) else Path(tempfile.gettempdir())


def _cpus() -> list[int | None]:
    allowed = sorted(os.sched_getaffinity(0))
    return [allowed[0], allowed[1]] if len(allowed) > 1 else [None, None]


@contextlib.contextmanager
def _segments(capacity: int) -> Iterator[tuple[Path, Path]]:
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    with tempfile.TemporaryDirectory(prefix="khft-verify-", dir=memory_directory()) as parent:
        folder = segment.make_directory(Path(parent), "ring")
        total = segment.segment_bytes(SegmentKind.TICK_RING, capacity)
        segment.require_room(folder, total + segment.segment_bytes(SegmentKind.COUNTERS, 0, 2))
        ring = segment.create(folder, "ticks", SegmentKind.TICK_RING, capacity, **now)
        progress = segment.create(folder, "progress", SegmentKind.COUNTERS, 0, counters=2, **now)
        yield ring, progress


@contextlib.contextmanager
def _started(tasks: list[dict[str, Any]]) -> Iterator[list[subprocess.Popen[str]]]:
    """One worker per task; whatever happens, none of them outlives the block."""
    with contextlib.ExitStack() as stack:
        workers = []
        for task in tasks:
            command = [sys.executable, "-c", WORKER]
            worker = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            workers.append(stack.enter_context(worker))
            stack.callback(worker.kill)
            assert worker.stdin is not None
            # BrokenPipe: it died at once, which its exit code will tell.
            with contextlib.suppress(BrokenPipeError), worker.stdin:
                worker.stdin.write(json.dumps(task))
        yield workers


def _watch(
    workers: list[subprocess.Popen[str]], progress: Path, tell: Callable[[int], None]
) -> list[dict[str, Any]]:
    """Results of all workers; RuntimeError when one fails or nothing moves any more."""
    with segment.attach(progress, SegmentKind.COUNTERS, writable=False) as held:
        words = _counters.CounterReader(held.view)
        seen, moved_at = (0, 0), time.monotonic()
        while any(worker.poll() is None for worker in workers):
            time.sleep(0.02)
            position = (words.value(READER_POSITION), words.value(WRITER_POSITION))
            if position != seen:
                seen, moved_at = position, time.monotonic()
                tell(position[1])
            failed = any(worker.returncode not in (None, 0) for worker in workers)
            if failed or time.monotonic() - moved_at > NO_PROGRESS_S:
                break
        if any(worker.returncode != 0 for worker in workers):
            raise RuntimeError(f"reader and writer stopped at {seen}: no progress, or one of them died")
    answers = [worker.stdout.read() for worker in workers if worker.stdout is not None]
    return [json.loads(answer) for answer in answers]


def run_pair(
    messages: int,
    *,
    paced: bool,
    capacity: int,
    batch: int = BATCH,
    drain: int = DRAIN_MAX,
    drains: int = 1,
    form: str = "",
    check: bool = True,
    tell: Callable[[int], None] = lambda done: None,
) -> dict[str, Any]:
    """One writer and one reader over `messages` records; what they counted.

    `batch` records per publish, at most `drain` per drain, `drains` of them after each stall;
    `form` "" is the engine's ring, otherwise a form of kite_hft._ring_faults with pauses.

    Raises:
        RuntimeError: a worker died, or nothing moved for a minute.
    """
    with _segments(capacity) as (ring, progress):
        with segment.attach(progress, SegmentKind.COUNTERS, writable=True) as held:
            _counters.CounterWriter(held.view).set(READER_POSITION, -1)
        task = {"ring": str(ring), "progress": str(progress), "messages": messages, "batch": batch}
        task |= {"drain": drain, "drains": drains, "paced": paced, "form": form, "check": check}
        roles = zip(("writer", "reader"), _cpus(), strict=True)
        with _started([task | {"role": role, "cpu": cpu} for role, cpu in roles]) as workers:
            wrote, read = _watch(workers, progress, tell)
    counted = {"produced": wrote["produced"], **read, "seconds": round(wrote["seconds"], 3)}
    counted["per_second"] = round(wrote["produced"] / max(wrote["seconds"], 1e-9))
    return counted


def holds(counted: dict[str, Any], messages: int, *, paced: bool) -> bool:
    """Whether the run kept every promise; a stalled one must have lost at least half."""
    lapped = paced or counted["lost"] * 2 >= messages
    return lapped and counted["produced"] == messages and not _broken(counted, paced=paced)


def catches(form: str) -> dict[str, Any]:
    """Run a broken ring until the check catches it, with twice the messages each time.

    Caught means: a torn record, or a loss where nothing can be lost, or a sum that does not add up.
    The sound form must come through the same traffic, pauses and number of messages unharmed.
    """
    traffic, messages = FAULTS[form], FAULT_MESSAGES
    for _ in range(FAULT_TRIES):
        broken = run_pair(messages, form=form, **traffic)
        if _broken(broken, paced=traffic["paced"]):
            control = _broken(run_pair(messages, form="sound", **traffic), paced=traffic["paced"])
            return {
                "caught": not control,
                "sound_form_holds": not control,
                **{key: broken[key] for key in ("produced", "got", "lost", "torn")},
            }
        messages *= 2
    return {"caught": False, **broken}


def _broken(counted: dict[str, Any], *, paced: bool) -> bool:
    """Whether no sound ring could have given these counts."""
    adds_up = counted["got"] + counted["lost"] == counted["produced"] == counted["position"]
    return bool(counted["torn"]) or not adds_up or (paced and counted["lost"] != 0)


@contextlib.contextmanager
def _bar(messages: int, text: str) -> Iterator[Callable[[int], None]]:
    """A progress bar on standard error when it is a terminal and the run is long."""
    if messages < 5_000_000 or not sys.stderr.isatty():
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(text, total=messages)
        yield lambda done: progress.update(task, completed=done)


def count(text: str) -> int:
    """A number of messages: 1000000 or 1e6."""
    number = int(float(text))
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


def main(argv: list[str]) -> int:
    """Run the verification; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kite_hft.verify ring", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--messages", type=count, default=1_000_000, help="records per run (default 1e6)")
    parser.add_argument("--no-faults", action="store_true", help="leave the broken rings out")
    parser.add_argument("--rate", action="store_true", help="also: delivered rate, without payload check")
    wanted = parser.parse_args(argv)
    report: dict[str, Any] = {"verify": "ring", "messages": wanted.messages, "cpus": _cpus()}
    report["flow_control"] = "paced: the writer watches the reader's position; stalled: none"
    try:
        for name, paced, capacity in (("paced", True, CAPACITY), ("stalled", False, SMALL_CAPACITY)):
            with _bar(wanted.messages, name) as tell:
                counted = run_pair(wanted.messages, paced=paced, capacity=capacity, tell=tell)
            report[name] = {**counted, "ok": holds(counted, wanted.messages, paced=paced)}
        if wanted.rate:
            report["rate"] = run_pair(wanted.messages, paced=True, capacity=CAPACITY, check=False)
        if not wanted.no_faults:
            report["faults"] = {form: catches(form) for form in FAULTS}
    except (RuntimeError, segment.SegmentError) as error:
        report["error"] = str(error)
    report["ok"] = (
        "error" not in report
        and report["paced"]["ok"]
        and report["stalled"]["ok"]
        and all(fault["caught"] for fault in report.get("faults", {}).values())
    )
    if not report["ok"]:
        report["replay"] = f"python -m kite_hft.verify ring --messages {wanted.messages}"
    print(json.dumps(report))
    return 0 if report["ok"] else 1
