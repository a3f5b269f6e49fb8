"""Layer 5, supervisor, cold: what a run is made of before anything is started.

The plan, the shared memory, the descriptors that wake, and what each process gets to know.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import sleep
from typing import Any, Final

from kite_hft import builds
from kite_hft.addresses import is_loopback
from kite_hft.clock import Clock
from kite_hft.configuring.models.broker import KiteSection
from kite_hft.configuring.models.market import StrategySection
from kite_hft.configuring.models.safety import SINK_SECRETS
from kite_hft.engine.keys.taking import keeps_secrets
from kite_hft.engine.orders.continuing import broker_name, find_earlier
from kite_hft.engine.orders.latch import Latched
from kite_hft.engine.orders.settings import charges_of_day, check_reach, orders_config
from kite_hft.engine.plan.days import session_arrays, trading_day
from kite_hft.engine.plan.placing import keep_off, unknown_pins
from kite_hft.engine.plan.plan import Plan, ProcessPlan, make_plan
from kite_hft.engine.plan.rooms import refuse_excess, rooms_of
from kite_hft.engine.plan.session import Session
from kite_hft.engine.processes.control import SOCKET_NAME
from kite_hft.engine.processes.warm import FEED, KIND_STAGE, ORDERS, PLAIN, RECORDER, UPDATES, WORKER
from kite_hft.engine.runs.live import View
from kite_hft.engine.runs.run_folder import RunFolder
from kite_hft.engine.runs.runs import RunNote, announce
from kite_hft.engine.runs.verdicts import Standing
from kite_hft.layout import SegmentKind
from kite_hft.memory.generations import point
from kite_hft.memory.header import WriterAlive
from kite_hft.memory.huge import HUGE_PAGE_BYTES, use_huge_pages
from kite_hft.memory.segment import create, make_directory, require_room, segment_bytes, start_ticks
from kite_hft.settings import Settings, SettingsError
from kite_hft.strategies.registry import class_of
from kite_hft.trading.instruments import InstrumentTable, write_csv

SHM: Final = Path("/dev/shm")
FOLLOWED: Final = frozenset(
    {SegmentKind.TICK_RING, SegmentKind.AUX_RING, SegmentKind.FRAME_RING, SegmentKind.INPUT_RING}
)
"""Kinds of segments that get a new generation when their writer dies."""
SNAPSHOT_ROOM: Final = 4096
"""Bytes a slot to keep free for the workers' snapshots, both halves."""
KEYS: Final = {"api_key", "access_token", "sandbox_token"}
"""Of a broker's section: not for every child."""
GONE_S: Final = 60.0
SAY_S: Final = 1.0


@dataclass(slots=True)
class Run:
    """Everything of one run while it lives. stop_policy: "" (the default), keep, cancel or flatten."""

    settings: Settings
    session: Session
    instruments: InstrumentTable
    folder: RunFolder
    clock: Clock
    view: View
    plan: Plan
    shm: Path
    paths: dict[str, Path] = field(default_factory=dict)
    wake_fds: dict[str, int] = field(default_factory=dict)
    stop_asked: str = ""
    stop_policy: str = ""
    hurry: bool = False
    next_seqs: dict[int, int] = field(default_factory=dict)  # strategy -> its next strategy_seq
    huge_pages: dict[str, Any] = field(default_factory=dict)  # empty: not asked for
    morning: Standing | None = None  # what `kite-hft morning` said of the day
    kills: list[Latched] = field(default_factory=list)  # by a signal, which could not be written


def prepare(
    settings: Settings,
    session: Session,
    instruments: InstrumentTable,
    folder: RunFolder,
    clock: Clock,
    view: View,
    core_numbers: Sequence[int],
) -> Run:
    """Plan the run and create its shared memory. core_numbers: the cores that it may use.

    Raises:
        PlanError, CalendarError, InstrumentError, SegmentError, SettingsError (charges, limits): nothing
            was started, nothing is left behind.
    """
    limits = orders_config(settings, loopback=settings.mode != "live").limits
    check_reach(limits, settings.trading.rules, *session.orders.addresses)
    first, *others = rooms_of(settings, session, instruments)
    plan = make_plan(
        settings,
        len(instruments),
        [wanted_slots(section, instruments) for section in settings.strategies],
        len(core_numbers),
        first.per_connection,
        first.connections,
        core_numbers,
        instruments_max=first.instruments,
        second=others[0] if others else None,
    )
    refuse_excess(settings, instruments, plan)
    refuse_unnamed(settings, session, instruments)
    session_arrays(settings, instruments, clock.real_ns())  # the calendar must cover the day
    charges_of_day(settings, instruments, clock.real_ns())  # and the charges every instrument
    needed = sum(segment_bytes(s.kind, s.capacity, s.counters, s.histograms) for s in plan.segments)
    home = folder.lock.parent
    # The account is locked by us: what lies here under its name was left by a run that was killed.
    for stale in home.glob(f"{folder.account_tag}-*"):
        await_gone(stale, clock, view.say)
        shutil.rmtree(stale)
    require_room(SHM, needed + len(plan.workers) * SNAPSHOT_ROOM * len(instruments))
    shm = make_directory(home, f"{folder.account_tag}-{folder.name}")
    run = Run(settings, session, instruments, folder, clock, view, plan, shm)
    try:
        write_csv(instruments, folder.path / "instruments.csv")
        api_url = session.api_config().get("url", "")
        own = session.own_simulator or not api_url
        broker = broker_name(settings.mode, api_url, folder.name, own=own)
        same = {"build": builds.fingerprint(), "rules_hash": folder.rules_hash}
        earlier = find_earlier(folder.path, folder.config_hash, broker, instruments, **same)
        run.next_seqs = earlier.next_seqs()
        for s in plan.segments:
            run.paths[s.name] = create(
                shm, s.name, s.kind, s.capacity,
                counters=s.counters, histograms=s.histograms,
                now_mono_ns=clock.mono_ns(), now_real_ns=clock.real_ns(),
            )  # fmt: skip
            if s.kind in FOLLOWED:
                point(run.paths[s.name])
            make_huge(run, run.paths[s.name])
        announce(note_of(run))
    except BaseException:
        shutil.rmtree(shm)
        raise
    for name in unknown_pins(settings, plan.processes):
        known = ", ".join(process.name for process in plan.processes)
        view.say(f"performance.pin: there is no process {name}; there are {known}")
    keep_off(asdict(plan.places["orders"]))  # the supervisor, and what each process starts beside its work
    for name in ("orders", *(f"events-{worker.number}" for worker in plan.workers)):
        run.wake_fds[name] = os.eventfd(0, os.EFD_NONBLOCK)
    return run


def refuse_unnamed(settings: Settings, session: Session, instruments: InstrumentTable) -> None:
    """Let the order broker's adapter be made once, as ORDERS makes it: what it refuses is told here.

    Raises:
        SettingsError: an instrument that the broker cannot be told of, or a setting that it does not take.
    """
    if settings.broker == "kite":
        return
    from kite_hft.engine.orders.transports import (
        order_broker,  # with all that ORDERS needs: not for everybody
    )

    try:
        order_broker(session.api_config(), settings, instruments)
    except ValueError as error:
        raise SettingsError(str(error)) from None


def make_huge(run: Run, path: Path) -> None:
    """Put a new segment into huge pages, where that is asked for; what came of it is kept in `run`."""
    if not run.settings.performance.huge_pages or path.stat().st_size < HUGE_PAGE_BYTES:
        return
    row = run.huge_pages or {"asked": True, "wanted_bytes": 0, "got_bytes": 0}
    row["wanted_bytes"] += path.stat().st_size // HUGE_PAGE_BYTES * HUGE_PAGE_BYTES
    try:
        row["got_bytes"] += use_huge_pages(path)
    except OSError as error:
        if "why" not in row:
            row["why"] = error.strerror
            run.view.say(f"huge_pages are not given: {error.strerror}")
    run.huge_pages = row


def await_gone(stale: Path, clock: Clock, say: Callable[[str], None] = lambda text: None) -> None:
    """Wait until every process that writes into a folder of shared memory has ended.

    The children of a killed supervisor are killed by the kernel; that may take a moment. ORDERS outlives it
    for some seconds: it cancels entries, or closes what it was told to close.

    Raises:
        WriterAlive: one still lives after GONE_S; the message names it.
    """
    begun_ns, said = clock.mono_ns(), False
    deadline_ns = begun_ns + round(GONE_S * 1e9)
    while living := [path for path in stale.glob("*.seg") if is_written(path)]:
        if clock.mono_ns() > deadline_ns:
            raise WriterAlive(
                f"{living[0]}: a process of the engine that was killed still writes it; end it "
                f"(fuser {living[0]}) and start again"
            )
        if not said and clock.mono_ns() - begun_ns > SAY_S * 1e9:
            said = True
            say("waiting for the order process of the engine before: it cancels its entries")
        sleep(0.02)


def is_written(path: Path) -> bool:
    """Whether a process holds the writer's lock of this segment file."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def note_of(run: Run) -> RunNote:
    """What other programs of this user may know of the run."""
    names = {
        str(number): run.settings.strategies[index].name
        for worker in run.plan.workers
        for number, index, _slots in worker.strategies
    }
    return RunNote(
        broker=run.settings.broker,
        account=run.settings.account,
        mode=run.settings.mode,
        run=run.folder.name,
        folder=str(run.folder.path),
        shm=str(run.shm),
        control=str(run.shm / SOCKET_NAME),
        pid=os.getpid(),
        start_ticks=start_ticks(os.getpid()),
        started_real_ns=run.clock.real_ns(),
        processes=[
            {"name": p.name, "stages": list(p.stages), "connection": p.connection, "worker": p.worker}
            for p in run.plan.processes
        ],
        strategies=names,
        connections=[len(connection.slots) for connection in run.plan.connections],
        data_brokers=list(run.settings.data_brokers),
        charges=run.settings.trading.charges.name,
        day=trading_day(run.settings, run.clock.real_ns()).isoformat(),
    )


def kind_of(process: ProcessPlan) -> str:
    """Which kind of spare (engine/processes/warm.py) can become this process."""
    return WORKER if "compute" in process.stages else PLAIN


def first_kind_of(process: ProcessPlan) -> str:
    """Which kind of child this process is made of at the start: one that loads nothing else."""
    kinds = (WORKER, FEED, ORDERS, RECORDER, UPDATES)
    return next(kind for kind in kinds if KIND_STAGE[kind] in process.stages)


def prepare_config(run: Run, kind: str) -> dict[str, Any]:
    """What a child learns before it becomes a process: no secret."""
    return {
        "kind": kind,
        "settings": settings_of_run(run),
        "instruments": str(run.folder.path / "instruments.csv"),
        "state": str(run.folder.path.parent.parent),
        "private": keeps_secrets(run.settings),
    }


def public_settings(settings: Settings) -> dict[str, Any]:
    """The settings for a child: without keys, tokens and the addresses of alert sinks.

    Of Kite's addresses only prices of this machine: by these it knows that the market is no real one, which
    has no daily lists.
    """
    kite = set(KiteSection.model_fields) - {"rate_limits", "websocket"}
    if is_loopback(settings.kite.ws_url):
        kite -= {"ws_url"}
    hidden: dict[str, Any] = {
        "kite": kite,
        "upstox": KEYS,
        "alerts": SINK_SECRETS,
        "notifications": True,
        "credentials": True,
    }
    return settings.model_dump(mode="json", exclude=hidden)


def settings_of_run(run: Run) -> dict[str, Any]:
    """The same with the run's own copies of the dated files: a process that is started again at noon goes by
    the rules of the morning, whatever somebody has written into them since.
    """
    found, trading, copies = public_settings(run.settings), run.settings.trading, run.folder.copies
    for name in ("rules", "charges", "market", "calendar"):
        found["trading"][name] = str(copies[getattr(trading, name)])
    return found


def child_config(run: Run, process: ProcessPlan, restarts: int = 0) -> dict[str, Any]:
    """What one child gets to know. Only feed and orders learn the session's secrets.

    restarts: how often this process was started again before; `restarted` says whether at all.
    """
    stages, plan = process.stages, run.plan
    config: dict[str, Any] = {
        "name": process.name,
        "stages": stages,
        "settings": settings_of_run(run),
        "segments": {segment: str(path) for segment, path in run.paths.items()},
        "shm": str(run.shm),
        "instruments": str(run.folder.path / "instruments.csv"),
        "folder": str(run.folder.path),
        "wake_fds": run.wake_fds,
        "spawned_ns": run.clock.mono_ns(),
        "state": str(run.folder.path.parent.parent),
        "restarted": restarts > 0,
        "restarts": restarts,
        "connections": [asdict(connection) for connection in plan.connections],
        "place": asdict(plan.places[process.name]),
        "build": builds.fingerprint(),
        "config_hash": run.folder.config_hash,
        "rules_hash": run.folder.rules_hash,
    }
    if "feed" in stages and process.connection is not None:
        connection = plan.connections[process.connection]
        config["connection"] = asdict(connection)
        access = run.session.data_of(connection.broker)
        more = access.quotes_config() if run.settings.datafeed.is_polled else {}
        config["feed"] = access.feed_config() | more
    if "updates" in stages and plan.updates is not None:
        config["connection"] = asdict(plan.updates)
        config["feed"] = run.session.orders.feed_config()
    if process.worker is not None:
        config["worker"] = asdict(plan.workers[process.worker])
        config["next_seq"] = {str(strategy): seq for strategy, seq in run.next_seqs.items()}
    if "orders" in stages:
        fused = {p.worker for p in plan.processes if "feed" in p.stages}
        config |= {
            "api": run.session.api_config(),
            "own_simulator": run.session.own_simulator,
            "texts": list(plan.texts),
            "workers": [asdict(worker) for worker in plan.workers],
            "event_wake_fds": {
                name: fd for name, fd in run.wake_fds.items()
                if name.startswith("events-") and int(name.removeprefix("events-")) in fused
            },
            "install": run.folder.install,
            "run_number": run.folder.number,
        }  # fmt: skip
    return config


def wanted_slots(section: StrategySection, instruments: InstrumentTable) -> tuple[int, ...] | None:
    """The slots that a strategy subscribes to; None: all. Of `all` one that trades whatever it watches gets
    no indices, for its orders there could only be refused; but what there is, where there is nothing else.

    Raises:
        InstrumentError: a name that the list does not have. UnknownStrategy: no such strategy.
    """
    if section.instruments == "all":
        if class_of(section).indices:
            return None
        tradable = tuple(row.slot for row in instruments if not row.is_index)
        return None if len(tradable) in (0, len(instruments)) else tradable
    return tuple(instruments.resolve(name).slot for name in section.instruments)


def release(run: Run) -> None:
    """Give back shared memory and descriptors: nothing of the run stays but its folder."""
    for fd in run.wake_fds.values():
        os.close(fd)
    run.wake_fds.clear()
    shutil.rmtree(run.shm, ignore_errors=True)
