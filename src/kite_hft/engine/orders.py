"""Layer 5, orders process, hot: the order stage around one epoll set.

Intents and order texts come by shared memory (their producers write an eventfd, and only when
this process is parked), answers by the HTTP transport's own epoll descriptor, words of the
supervisor by a pipe. In paper mode the transport is an exchange in this process, fed with the real
feed's ticks: no token and no address of a broker are in it.

A process that is started again in its run opens the journal again; one of a new run goes on from
the day's earlier journals (continuing.py).
"""

from __future__ import annotations

import contextlib
import gc
import select
import signal
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np

from kite_hft import _counters, _queue
from kite_hft.brokers.kite.rest import KITE, auth_headers
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.alone import AlertsOut
from kite_hft.engine.books import shelf
from kite_hft.engine.children import Answers, outlive_parent
from kite_hft.engine.continuing import (
    Earlier,
    broker_name,
    chain_of,
    day_net_paise,
    day_records,
    find_earlier,
)
from kite_hft.engine.control import ControlPipe
from kite_hft.engine.days import open_for
from kite_hft.engine.evidence import evidence_ports
from kite_hft.engine.latch import LatchWatch
from kite_hft.engine.latest import FreshOfAll, LatestOfAll
from kite_hft.engine.market_facts import TickOf, market_facts
from kite_hft.engine.order_files import RunJournal, open_csv, open_run_journal, written
from kite_hft.engine.order_latches import kill_by_signal, latch_ports
from kite_hft.engine.order_settings import charges_of_day, orders_config
from kite_hft.engine.paper import PaperTransport
from kite_hft.engine.segments import Segments
from kite_hft.engine.spinning import Lookout
from kite_hft.engine.warm import instruments_of
from kite_hft.layout import SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.follow import FollowingReader
from kite_hft.net.http import HttpTransport
from kite_hft.settings import Settings, is_loopback
from kite_hft.stages.orders import Orders
from kite_hft.trading.alerts import alert
from kite_hft.trading.broker import HttpRequest, HttpResponse, TransportError
from kite_hft.trading.gate.broker_clock import BrokerClock
from kite_hft.trading.gate.facts import Facts
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import Ports
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS
from kite_hft.trading.recovery.resuming import recovery_words

ACTIVE_S: Final = 60.0
STOP_S: Final = 10.0
FLATTEN_S: Final = 45.0
BEAT_NS: Final = 100_000_000
EXIT_NOT_ACTIVE: Final = 6


class Transport(Protocol):
    """HttpTransport or PaperTransport."""

    def submit(self, request_id: int, request: HttpRequest) -> None: ...

    def poll(self) -> list[tuple[int, HttpResponse | TransportError]]: ...

    def next_deadline_ns(self) -> int | None: ...

    def silent(self, now_ns: int) -> None: ...

    def fileno(self) -> int: ...

    def last_failure(self) -> str: ...

    def close(self) -> None: ...


def run_orders(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = instruments_of(config["instruments"])
    clock = SystemClock()
    api = config["api"]
    account = Path(config["folder"]).parent.parent
    kill_by_signal(account, clock, "the order process")
    if api["mode"] != "paper" and not config.get("own_simulator"):
        outlive_parent()  # else the broker dies with the supervisor, and nothing is left to be cancelled
    with contextlib.ExitStack() as held:
        latch = LatchWatch(account)
        held.callback(latch.close)
        segments = Segments(config["segments"])
        held.callback(segments.close)
        views = [
            *(segments.share(f"intents-{w['number']}", SegmentKind.INTENT_QUEUE).view
              for w in config["workers"]),
            *(segments.share(f"texts-{c['number']}", SegmentKind.TEXT_QUEUE).view
              for c in config["connections"]),
        ]  # fmt: skip
        queues = [_queue.QueueConsumer(view) for view in views]
        intents, texts = queues[: len(config["workers"])], queues[len(config["workers"]) :]
        transport, extra_texts = make_transport(config, settings, instruments, segments, clock)
        held.callback(transport.close)
        folder, wake_fd = Path(config["folder"]), config["wake_fds"]["orders"]
        journal = open_run_journal(config, settings, folder, clock, held, wake_fd)
        about = {"broker": settings.broker, "account": settings.account, "run": folder.name}
        tell = AlertsOut(answers, folder, settings.alerts.model_dump(mode="json"), clock, about)
        if journal.set_aside:
            answers.log(f"orders: the journal was torn: {journal.set_aside}")
        ports = _ports(
            config, settings, instruments, segments, clock, held, transport, intents,
            [*texts, *extra_texts], answers, latch, journal, tell,
        )  # fmt: skip
        stage = Orders(
            ports,
            orders_config(
                settings,
                loopback=api["mode"] == "paper" or is_loopback(api["url"]),
                charges=charges_of_day(settings, instruments, clock.real_ns()),
            ),
        )
        control = ControlPipe(config["control_fd"]) if "control_fd" in config else None
        waiting = Waiting(
            stage,
            transport,
            queues,
            views,
            wake_fd,
            clock,
            segments,
            control,
            answers,
            config["place"]["wait"],
            latch,
            journal.wake,
        )
        answers.placed(config["name"], config["place"])
        return _run(stage, transport, clock, waiting, answers, tell)


def _ports(
    config: dict[str, Any],
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    held: contextlib.ExitStack,
    transport: Transport,
    intents: Sequence[_queue.QueueConsumer],
    texts: Sequence[Any],
    answers: Answers,
    latch: LatchWatch,
    journal: RunJournal,
    tell: AlertsOut,
) -> Ports:
    """All that the stage is handed: files, queues, tables, and what earlier processes left."""
    folder, api, restarted = Path(config["folder"]), config["api"], bool(config.get("restarted"))
    own = api["mode"] == "paper" or bool(config.get("own_simulator"))
    broker = broker_name(api["mode"], api.get("url", ""), folder.name, own=own)
    restarted = restarted and bool(journal.records)
    if restarted:
        earlier = Earlier(chain_of(folder), day_records(folder))
    else:
        earlier = find_earlier(folder, config["config_hash"], broker, instruments)
    latest = LatestOfAll(config["connections"], len(instruments), segments)
    counters = segments.own("counters-orders", SegmentKind.COUNTERS)
    counted = _counters.CounterReader(counters.view).values() if restarted else np.zeros(0, np.int64)

    def alarm(code: str, key: str, text: str) -> None:
        tell(alert(code, text, key).fields())

    def use_token(access_token: str) -> None:
        if isinstance(transport, HttpTransport):
            transport.use_headers(auth_headers(api["api_key"], access_token))

    names = {n: settings.strategies[i].name for w in config["workers"] for n, i, _slots in w["strategies"]}
    return Ports(
        **latch_ports(folder.parent.parent, latch, "" if own else broker, names, clock, alarm),
        day_net_paise=day_net_paise(folder, broker, earlier.names),
        instruments=instruments,
        broker=KITE,
        transport=transport,
        clock=clock,
        journal=journal.writer,
        synced_seq=lambda: journal.writer.synced_seq,
        journal_state=journal.writer.state,
        counters=_counters.CounterWriter(counters.view),
        latest=latest,
        facts=_facts(settings, instruments, clock, TickOf(latest.reader_of), answers.log, transport),
        intents=intents,
        texts=texts,
        events=_event_queues(segments, config),
        tags=Tags(config["install"], config["run_number"]),
        history=earlier.records,
        restarted=restarted,
        continues=earlier.names,
        not_continued=earlier.refused,
        counted=named("orders", counted) if restarted else {},
        written=written([*earlier.folders, *([folder] if restarted else [])]),
        broker_name=broker,
        on_order=open_csv(folder / "orders.csv", ORDER_COLUMNS, alarm, held),
        on_trade=open_csv(folder / "trades.csv", TRADE_COLUMNS, alarm, held),
        **evidence_ports(folder, settings, broker, alarm, clock, held),
        alert=tell,
        on_book=shelf(Path(config["shm"]), clock.real_ns, wanted=settings.trading.watchdog),
        fresh=FreshOfAll(config["connections"], len(instruments), segments, config["segments"]),
        open_for=open_for(settings, instruments, clock),
        use_token=use_token,
        workers={w["number"]: [n for n, _index, _slots in w["strategies"]] for w in config["workers"]},
    )


def _facts(
    settings: Settings,
    instruments: InstrumentTable,
    clock: Clock,
    tick: TickOf,
    warn: Callable[[str], None],
    transport: Transport,
) -> Facts:
    """The gate's facts; its watch over the wall clock follows the broker's answers."""
    facts = market_facts(settings, instruments, clock, tick, warn)
    if isinstance(transport, HttpTransport) and facts.watch is not None:
        transport.dated = BrokerClock(clock.mono_ns, clock.real_ns, facts.watch).answered
    return facts


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
        rings = [
            FollowingReader(Path(config["shm"]), f"ticks-{c['number']}", SegmentKind.TICK_RING)
            for c in config["connections"]
        ]
        paper = PaperTransport(
            instruments, settings.simulator.cash * 100, settings.simulator.seed, clock, rings
        )
        return paper, [paper.texts]
    return HttpTransport(api["url"], clock, auth_headers(api["api_key"], api["access_token"])), []


def _event_queues(segments: Segments, config: dict[str, Any]) -> dict[int, Any]:
    """Strategy number -> the event queue of its worker."""
    found: dict[int, Any] = {}
    for worker in config["workers"]:
        name = f"events-{worker['number']}"
        segment = segments.own(name, SegmentKind.EVENT_QUEUE)
        producer = _queue.QueueProducer(segment.view, wake_fd=config["event_wake_fds"].get(name, -1))
        found |= {number: producer for number, _index, _slots in worker["strategies"]}
    return found


def _run(
    stage: Orders, transport: Transport, clock: Clock, waiting: Waiting, answers: Answers, tell: AlertsOut
) -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stage.start()
    if isinstance(transport, PaperTransport):
        transport.resume(stage.book)
    started_ns = clock.mono_ns()
    while not (stage.active or stage.states.token_dead or stopping.is_set() or waiting.alone):
        waiting.round()
        if stage.unexplained:
            break  # a person has to end it, and needs an engine that can be asked
        if clock.mono_ns() - started_ns > ACTIVE_S * 1e9:
            why = transport.last_failure() or "the broker's books could not be read"
            answers.log(f"orders: not active after {ACTIVE_S:.0f} s: {why}")
            return EXIT_NOT_ACTIVE
    if stage.unexplained:
        answers.log(f"orders: NOT ACTIVE, nothing is sent: {stage.unexplained}")
    else:
        answers.log(f"orders: recovered: {recovery_words(stage.recovery())}")
    gc.collect()
    gc.freeze()  # a collection in the middle of an order does not walk what lives as long as the process
    answers.send(ready={})
    while not (stopping.is_set() or waiting.alone):
        waiting.round()
    waiting.hear()  # the stop policy may stand in the pipe
    stop_ns = clock.mono_ns()
    if waiting.alone:
        tell.begin()
        stage.control({"do": "alone"}, stop_ns)
    stage.begin_stop(stop_ns)
    longest_ns = (FLATTEN_S if stage.flattening else STOP_S) * 1e9
    while not stage.idle and clock.mono_ns() - stop_ns < longest_ns:
        waiting.round()
        tell.look()
    summary = stage.close()
    tell.end(summary, time.sleep)
    fills = transport.parameters() if isinstance(transport, PaperTransport) else {}
    answers.send(part=stage.report() | {"open": summary, "fills": fills})
    waiting.close()
    return 0


class Waiting:
    """Steps the stage, and sleeps when there is nothing to do."""

    def __init__(
        self,
        stage: Orders,
        transport: Transport,
        queues: Sequence[_queue.QueueConsumer],
        views: Sequence[memoryview],
        wake_fd: int,
        clock: Clock,
        segments: Segments,
        control: ControlPipe | None,
        answers: Answers,
        wait: str,
        latch: LatchWatch,
        wake_journal: Callable[[], None] = lambda: None,
    ) -> None:
        self._latch, self._wake_journal = latch, wake_journal
        self._stage, self._transport, self._queues, self._clock = stage, transport, queues, clock
        self._segments = segments
        self._control, self._answers = control, answers
        self._beat_ns, self._alone = 0, False
        self._epoll = select.epoll()
        # At its edge: each write of a producer wakes, and what was written need not be read away.
        self._epoll.register(wake_fd, select.EPOLLIN | select.EPOLLET)
        self._transport_fd = transport.fileno()
        if self._transport_fd >= 0:
            self._epoll.register(self._transport_fd, select.EPOLLIN)
        if control is not None:
            self._epoll.register(control.fileno(), select.EPOLLIN)
        if latch.fileno() >= 0:
            self._epoll.register(latch.fileno(), select.EPOLLIN)
        self._lookout = Lookout(wait, queues, views, self._serve, clock)

    def hear(self) -> None:
        """What the supervisor has said; a message that cannot be followed is told and left."""
        for message in self._control.read() if self._control else ():
            try:
                self._stage.control(message, self._clock.mono_ns())
            except (KeyError, ValueError, TypeError) as error:
                self._answers.log(f"orders: message {message.get('do')!r} not understood: {error!r}")
        if self.alone and self._control is not None:
            self._epoll.unregister(self._control.fileno())
            self._control, self._alone = None, True

    @property
    def alone(self) -> bool:
        """The supervisor is gone: its end of the control pipe is closed."""
        return self._alone or (self._control is not None and self._control.closed)

    def round(self) -> None:
        """One step; then, when it found nothing, look or sleep until something arrives or is due."""
        now_ns = self._clock.mono_ns()
        worked = self._stage.step(now_ns)
        self._wake_journal()
        if now_ns >= self._beat_ns:  # behind the step: what has woken us waits for none of this
            self._beat_ns = now_ns + BEAT_NS
            self._segments.heartbeat(now_ns)
            self.hear()
        if worked:
            return
        times = (self._stage.next_deadline_ns(now_ns), self._transport.next_deadline_ns(), self._beat_ns)
        due_ns = min(t for t in times if t is not None)
        if self._lookout.came(due_ns):
            return
        parked = [queue for queue in self._queues if queue.park()]
        if len(parked) == len(self._queues):
            self._serve(max(0, due_ns - self._clock.mono_ns()) / 1e9)
        for queue in parked:
            queue.unpark()

    def _serve(self, wait_s: float) -> bool:
        """Wait for descriptors; whether one was ready. The transport's own are left to the next step."""
        ready = self._epoll.poll(wait_s)
        seen_ns, answers = self._clock.mono_ns(), False
        for fd, _ in ready:
            if fd == self._transport_fd:
                answers = True
            elif fd == self._latch.fileno():
                self._latch.drain()
            elif self._control is not None and fd == self._control.fileno():
                self.hear()
        if not answers:
            self._transport.silent(seen_ns)
        return bool(ready)

    def close(self) -> None:
        self._epoll.close()
