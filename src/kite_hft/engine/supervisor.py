"""Layer 5, supervisor, cold: one run from configuration to report.

Order of a start: instruments, plan, room in shared memory, segments, ORDERS (which must be ACTIVE
before anything can be traded), then market data and strategies. Order of a stop: market data and
strategies, so that no new intent arises; ORDERS, which cancels what should not rest and says what
stays open; the simulator; the shared memory. A child that ends by itself stops the run.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from time import sleep
from types import FrameType
from typing import Any, Final

from kite_hft._ring import BUILD_FINGERPRINT
from kite_hft.clock import Clock
from kite_hft.engine.children import Child, start_child
from kite_hft.engine.days import session_arrays
from kite_hft.engine.live import View, take_sample
from kite_hft.engine.order_settings import orders_config
from kite_hft.engine.plan import Plan, make_plan
from kite_hft.engine.report import Readings, make_report, processes
from kite_hft.engine.run_folder import RunFolder
from kite_hft.engine.session import Session
from kite_hft.memory.segment import create, make_directory, require_room, segment_bytes
from kite_hft.settings import Settings
from kite_hft.trading.instruments import InstrumentTable, write_csv

SHM: Final = Path("/dev/shm")
START_S: Final = 90.0
STOP_S: Final = 20.0
TICK_S: Final = 0.05
HUNG_NS: Final = 5_000_000_000
SHOW_EVERY_NS: Final = 250_000_000

STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

EXIT_OK: Final = 0
EXIT_FAILED: Final = 4


class StopAsked(Exception):
    """A stop was asked for while the processes were starting."""


class StartFailed(Exception):
    """A process did not come up; the message says which and what it said."""


@dataclass(slots=True)
class Run:
    """Everything of one run while it lives."""

    settings: Settings
    session: Session
    instruments: InstrumentTable
    folder: RunFolder
    clock: Clock
    view: View
    plan: Plan
    shm: Path
    paths: dict[str, Path] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    wake_fds: dict[str, int] = field(default_factory=dict)
    stop_asked: str = ""
    hurry: bool = False


def prepare(
    settings: Settings,
    session: Session,
    instruments: InstrumentTable,
    folder: RunFolder,
    clock: Clock,
    view: View,
    cores: int,
) -> Run:
    """Plan the run and create its shared memory.

    Raises:
        PlanError, CalendarError, InstrumentError, SegmentError: nothing was started, nothing is
            left behind.
    """
    limits = orders_config(settings, loopback=settings.mode != "live").limits
    plan = make_plan(settings, len(instruments), cores, limits.instruments_per_connection)
    session_arrays(settings, instruments, clock.real_ns())  # the calendar must cover the day
    for section in settings.strategies:
        if section.instruments != "all":
            for name in section.instruments:
                instruments.resolve(name)
    needed = sum(segment_bytes(s.kind, s.capacity, s.counters, s.histograms) for s in plan.segments)
    require_room(SHM, needed)
    home = folder.lock.parent
    # The account is locked by us: what lies here under its name was left by a run that was killed.
    for stale in home.glob(f"{folder.account_tag}-*"):
        shutil.rmtree(stale)
    shm = make_directory(home, f"{folder.account_tag}-{folder.name}")
    run = Run(settings, session, instruments, folder, clock, view, plan, shm)
    write_csv(instruments, folder.path / "instruments.csv")
    try:
        for s in plan.segments:
            run.paths[s.name] = create(
                shm, s.name, s.kind, s.capacity,
                counters=s.counters, histograms=s.histograms,
                now_mono_ns=clock.mono_ns(), now_real_ns=clock.real_ns(),
            )  # fmt: skip
    except BaseException:
        shutil.rmtree(shm)
        raise
    run.wake_fds = {"orders": os.eventfd(0, os.EFD_NONBLOCK), "events": os.eventfd(0, os.EFD_NONBLOCK)}
    return run


def child_config(run: Run, name: str, stages: tuple[str, ...]) -> dict[str, Any]:
    """What one child gets to know. Only feed and orders learn the session's secrets."""
    config: dict[str, Any] = {
        "name": name,
        "stages": stages,
        "settings": run.settings.model_dump(mode="json", exclude={"kite"}),
        "segments": {segment: str(path) for segment, path in run.paths.items()},
        "instruments": str(run.folder.path / "instruments.csv"),
        "folder": str(run.folder.path),
        "wake_fds": run.wake_fds,
        "spawned_ns": run.clock.mono_ns(),
        "state": str(run.folder.path.parent.parent),
    }
    if "feed" in stages:
        config["feed_url"] = run.session.feed_url
    if "orders" in stages:
        fused = any({"feed", "compute"} <= set(p.stages) for p in run.plan.processes)
        config |= {
            "api": run.session.api_config(),
            "event_wake_fd": run.wake_fds["events"] if fused else -1,
            "build": BUILD_FINGERPRINT,
            "config_hash": run.folder.config_hash,
            "install": run.folder.install,
            "run_number": run.folder.number,
        }
    return config


def start(run: Run) -> None:
    """Start all children against the flow (ORDERS, compute, feed), each when the one before is ready.

    Raises:
        StartFailed: one did not come up in time; whatever runs must be stopped by the caller.
    """
    for process in reversed(run.plan.processes):
        config = child_config(run, process.name, process.stages)
        run.children[process.name] = start_child(process.name, config, list(run.wake_fds.values()))
        _await_ready(run, run.children[process.name])


def _await_ready(run: Run, child: Child) -> None:
    deadline = run.clock.mono_ns() + int(START_S * 1e9)
    while child.ready is None:
        if run.stop_asked:
            raise StopAsked
        for line in child.listen():
            run.view.say(line)
        if child.process.poll() is not None and child.ready is None:
            child.listen()
            said = f": {child.log[-1]}" if child.log else ""
            raise StartFailed(f"{child.name} ended at its start{said}")
        if run.clock.mono_ns() > deadline:
            raise StartFailed(f"{child.name} was not ready within {START_S:.0f} s")
        sleep(TICK_S / 5)


def watch(run: Run, readings: Readings, duration_s: float | None) -> int:
    """Until the time is over, a stop is asked for, or a child ends or hangs; returns the exit code."""
    started_ns = run.clock.mono_ns()
    next_show_ns = started_ns
    while True:
        now_ns = run.clock.mono_ns()
        for child in run.children.values():
            for line in child.listen():
                run.view.say(line)
            if child.process.poll() is not None:
                child.listen()
                said = f": {child.log[-1]}" if child.log else ""
                run.view.say(f"{child.name} ended by itself (exit code {child.process.returncode}){said}")
                return EXIT_FAILED
        if stage := silent_stage(readings, now_ns):
            run.view.say(f"{stage} hangs: no sign of life for {HUNG_NS / 1e9:.0f} s")
            run.hurry = True
            return EXIT_FAILED
        if now_ns >= next_show_ns:
            next_show_ns = now_ns + SHOW_EVERY_NS
            run.view.show(take_sample(readings, now_ns))
        if run.stop_asked:
            run.view.say(f"stopping: {run.stop_asked}")
            return EXIT_OK
        if duration_s is not None and now_ns - started_ns >= duration_s * 1e9:
            return EXIT_OK
        if run.session.ended():
            run.view.say("the simulator has ended")
            return EXIT_OK if run.session.ended_well() else EXIT_FAILED
        sleep(TICK_S)


def silent_stage(readings: Readings, now_ns: int) -> str:
    """The first stage whose process has not beaten for HUNG_NS, or ""."""
    for stage, segment in readings.segments.items():
        if now_ns - int(segment.control()["heartbeat_ns"]) > HUNG_NS:
            return stage
    return ""


def stop_children(run: Run) -> bool:
    """Stop in order; whoever does not end in time is killed. Whether all ended by themselves."""
    clean = True
    for process in run.plan.processes:
        child = run.children.get(process.name)
        if child is None:
            continue
        child.terminate()
        if not child.wait(STOP_S, lambda: run.hurry):
            run.view.say(f"{child.name} did not end in time and was killed")
            child.process.kill()
            child.wait(STOP_S)
            clean = False
        for line in child.listen():
            run.view.say(line)
    return clean


def release(run: Run) -> None:
    """Give back shared memory and descriptors: nothing of the run stays but its folder."""
    for fd in run.wake_fds.values():
        os.close(fd)
    for child in run.children.values():
        child.answers.close()
    shutil.rmtree(run.shm, ignore_errors=True)


@contextlib.contextmanager
def signals(run: Run) -> Iterator[None]:
    """SIGINT, SIGTERM and SIGHUP (the terminal was closed) ask for an orderly stop; a second one hurries."""

    def ask(number: int, _frame: FrameType | None) -> None:
        run.hurry = bool(run.stop_asked)
        run.stop_asked = signal.Signals(number).name

    before = {number: signal.signal(number, ask) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def supervise(run: Run, duration_s: float | None) -> tuple[int, dict[str, Any]]:
    """Start, watch, stop in order; returns (exit code, report)."""
    readings = Readings.open(run.paths)
    shm_bytes = {name: path.stat().st_size for name, path in run.paths.items()}
    started_ns = run.clock.mono_ns()
    pids = {"supervisor": os.getpid()}
    code = EXIT_FAILED
    memory: dict[str, Any] = {}
    cpu: dict[str, Any] = {}
    with signals(run):
        try:
            start(run)
            pids |= {name: child.process.pid for name, child in run.children.items()}
            started_ns = run.clock.mono_ns()
            code = watch(run, readings, duration_s)
        except StopAsked:
            run.view.say(f"stopping: {run.stop_asked}")
            code = EXIT_OK
        except StartFailed as error:
            run.view.say(f"not started: {error}")
        finally:
            duration = (run.clock.mono_ns() - started_ns) / 1e9
            memory, cpu = processes(pids)
            run.view.end()
            if not stop_children(run):
                code = EXIT_FAILED
    parts = {name: child.part or {} for name, child in run.children.items()}
    report = make_report(
        readings,
        parts,
        mode=run.settings.mode,
        duration_s=duration,
        memory=memory,
        cpu=cpu,
        shm_bytes=shm_bytes,
        absence_horizon_s=run.settings.trading.absence_horizon_s,
    )
    readings.close()
    try:
        write_report(run.folder.path / "report.json", report)
    except OSError as error:
        run.view.say(f"report.json could not be written: {error.strerror}")
        code = EXIT_FAILED
    return code, report


def write_report(path: Path, report: dict[str, Any]) -> None:
    """Whole or not at all."""
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps(report, indent=2) + "\n")
    fresh.replace(path)
