"""Layer 5, orders process, hot: the order stage around one epoll set.

Intents and order texts come by shared memory (their producers write an eventfd, and only when
this process is parked), answers by the HTTP transport's own epoll descriptor. In paper mode the
transport is an exchange in this process, fed with the real feed's ticks: no token and no address
of a broker are in it.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import io
import os
import select
import signal
import threading
from collections.abc import Callable, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any, Final, Protocol

from kite_hft import _counters, _queue, _ring, _table
from kite_hft.brokers.kite.rest import KITE, auth_headers
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.children import Answers
from kite_hft.engine.order_settings import orders_config
from kite_hft.engine.paper import PaperTransport
from kite_hft.engine.segments import Segments
from kite_hft.layout import SegmentKind
from kite_hft.memory.journal import Header, JournalWriter, open_journal, sync_until
from kite_hft.net.http import HttpTransport
from kite_hft.settings import Settings, is_loopback
from kite_hft.stages.orders import Orders
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.instruments import InstrumentTable, read_csv
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import Ports
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS

ACTIVE_S: Final = 60.0
STOP_S: Final = 10.0
BEAT_NS: Final = 100_000_000
EXIT_NOT_ACTIVE: Final = 6


class Transport(Protocol):
    """HttpTransport or PaperTransport."""

    def submit(self, request_id: int, request: HttpRequest) -> None: ...

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]: ...

    def next_deadline_ns(self) -> int | None: ...

    def fileno(self) -> int: ...

    def last_failure(self) -> str: ...

    def close(self) -> None: ...


def run_orders(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = read_csv(Path(config["instruments"]))
    clock = SystemClock()
    folder = Path(config["folder"])
    api = config["api"]
    with contextlib.ExitStack() as held:
        segments = Segments(config["segments"])
        held.callback(segments.close)
        intents = _queue.QueueConsumer(segments.share("intents-0", SegmentKind.INTENT_QUEUE).view)
        texts = _queue.QueueConsumer(segments.share("texts-0", SegmentKind.TEXT_QUEUE).view)
        transport, extra_texts = make_transport(config, settings, instruments, segments, clock)
        held.callback(transport.close)
        orders = held.enter_context((folder / "orders.csv").open("wb", buffering=0))
        trades = held.enter_context((folder / "trades.csv").open("wb", buffering=0))
        stage = Orders(
            Ports(
                instruments=instruments,
                broker=KITE,
                transport=transport,
                clock=clock,
                journal=_journal(config, settings, folder, clock, held),
                counters=_counters.CounterWriter(segments.own("counters-orders", SegmentKind.COUNTERS).view),
                latest=_table.TableReader(segments.read("latest", SegmentKind.LATEST_TABLE).view),
                intents=[intents],
                texts=[texts, *extra_texts],
                events=_event_queues(settings, segments, config),
                tags=Tags(config["install"], config["run_number"]),
                on_order=_csv_sink(orders, "orders.csv", ORDER_COLUMNS, answers.log),
                on_trade=_csv_sink(trades, "trades.csv", TRADE_COLUMNS, answers.log),
                alert=answers.log,
            ),
            orders_config(settings, loopback=api["mode"] == "paper" or is_loopback(api["url"])),
        )
        return _run(stage, transport, [intents, texts], segments, clock, config, answers)


def _journal(
    config: dict[str, Any], settings: Settings, folder: Path, clock: Clock, held: contextlib.ExitStack
) -> JournalWriter:
    """The run's journal with its sync thread beside it; both end with `held`."""
    fd = open_journal(folder / "journal.bin", allow_tmpfs=settings.mode != "live")
    held.callback(os.close, fd)
    header = Header(build=config["build"], config=config["config_hash"], created_real_ns=clock.real_ns())
    journal = JournalWriter(fd, header=header)
    closing = threading.Event()
    syncing = threading.Thread(target=sync_until, args=(journal, closing), name="journal-sync", daemon=True)
    syncing.start()
    held.callback(syncing.join)
    held.callback(closing.set)
    return journal


def make_transport(
    config: dict[str, Any],
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
) -> tuple[Transport, list[Any]]:
    """The way to the broker, and further sources of order texts.

    Raises:
        TransportConfigError: an address that must not be used; OSError: it cannot be resolved.
    """
    api = config["api"]
    if api["mode"] == "paper":
        ring = _ring.RingReader(segments.read("ticks-0", SegmentKind.TICK_RING).view)
        paper = PaperTransport(
            instruments, settings.simulator.cash * 100, settings.simulator.seed, clock, ring
        )
        return paper, [paper.texts]
    return HttpTransport(api["url"], clock, auth_headers(api["api_key"], api["access_token"])), []


def _event_queues(settings: Settings, segments: Segments, config: dict[str, Any]) -> dict[int, Any]:
    """Strategy number -> the event queue of its worker (one worker so far)."""
    segment = segments.own("events-0", SegmentKind.EVENT_QUEUE)
    producer = _queue.QueueProducer(segment.view, wake_fd=config["event_wake_fd"])
    return dict.fromkeys(range(1, len(settings.strategies) + 1), producer)


def _csv_sink(
    file: RawIOBase, name: str, columns: Sequence[str], alert: Callable[[str], None]
) -> Callable[[dict[str, Any]], None]:
    """Rows as they come, each on the disk's way before the next; `file` is unbuffered.

    A full disk ends the file with an alert and never reaches the stage: the journal is the record
    that stops trading, and cancels must go on.
    """
    failed = False

    def write(row: dict[str, Any]) -> None:
        nonlocal failed
        if failed:
            return
        text = io.StringIO()
        csv.DictWriter(text, columns).writerow(row)
        data = text.getvalue().encode()
        try:
            if file.write(data) != len(data):
                raise OSError(errno.ENOSPC, "written in part")
        except OSError as error:
            failed = True
            alert(f"{name} is not written any more: {error.strerror}")

    write(dict(zip(columns, columns, strict=True)))
    return write


def _run(
    stage: Orders,
    transport: Transport,
    queues: Sequence[_queue.QueueConsumer],
    segments: Segments,
    clock: Clock,
    config: dict[str, Any],
    answers: Answers,
) -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    waiting = Waiting(stage, transport, queues, config["wake_fds"]["orders"], clock, segments)
    stage.start()
    started_ns = clock.mono_ns()
    while not stage.active and not stopping.is_set():
        waiting.round()
        if clock.mono_ns() - started_ns > ACTIVE_S * 1e9:
            why = transport.last_failure() or "its books do not agree with ours; see the journal"
            answers.log(f"orders: not active after {ACTIVE_S:.0f} s: {why}")
            return EXIT_NOT_ACTIVE
    answers.send(ready={})
    while not stopping.is_set():
        waiting.round()
    stop_ns = clock.mono_ns()
    stage.begin_stop(stop_ns)
    while not stage.idle and clock.mono_ns() - stop_ns < STOP_S * 1e9:
        waiting.round()
    summary = stage.close()
    answers.send(part=stage.report() | {"open": summary})
    waiting.close()
    return 0


class Waiting:
    """Steps the stage, and sleeps when there is nothing to do."""

    def __init__(
        self,
        stage: Orders,
        transport: Transport,
        queues: Sequence[_queue.QueueConsumer],
        wake_fd: int,
        clock: Clock,
        segments: Segments,
    ) -> None:
        self._stage, self._transport, self._queues, self._clock = stage, transport, queues, clock
        self._segments, self._wake_fd = segments, wake_fd
        self._beat_ns = 0
        self._epoll = select.epoll()
        self._epoll.register(wake_fd, select.EPOLLIN)
        if transport.fileno() >= 0:
            self._epoll.register(transport.fileno(), select.EPOLLIN)

    def round(self) -> None:
        """One step; then, when it found nothing, sleep until something arrives or is due."""
        now_ns = self._clock.mono_ns()
        if now_ns >= self._beat_ns:
            self._beat_ns = now_ns + BEAT_NS
            self._segments.heartbeat(now_ns)
        if self._stage.step(now_ns):
            return
        times = (self._stage.next_deadline_ns(now_ns), self._transport.next_deadline_ns(), self._beat_ns)
        due_ns = min(t for t in times if t is not None)
        parked = [queue for queue in self._queues if queue.park()]
        if len(parked) == len(self._queues):
            for fd, _ in self._epoll.poll(max(0, due_ns - self._clock.mono_ns()) / 1e9):
                if fd == self._wake_fd:
                    os.eventfd_read(fd)
        for queue in parked:
            queue.unpark()

    def close(self) -> None:
        self._epoll.close()
