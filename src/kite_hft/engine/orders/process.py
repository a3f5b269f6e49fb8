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
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import _counters, _queue
from kite_hft.addresses import is_loopback
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.alerts.alone import AlertsOut
from kite_hft.engine.orders.books import shelf
from kite_hft.engine.orders.coding import strategy_codes
from kite_hft.engine.orders.continuing import (
    Earlier,
    broker_name,
    chain_of,
    day_net_paise,
    day_records,
    day_so_far,
    find_earlier,
)
from kite_hft.engine.orders.ending import see_through
from kite_hft.engine.orders.evidence import evidence_ports
from kite_hft.engine.orders.files import RunJournal, open_csv, open_run_journal, written
from kite_hft.engine.orders.latch import LatchWatch
from kite_hft.engine.orders.latches import disk, kill_by_signal, latch_ports
from kite_hft.engine.orders.latest import FreshOfAll, LatestOfAll
from kite_hft.engine.orders.market_facts import TickOf, market_facts, stamps_ahead_ns
from kite_hft.engine.orders.settings import charges_of_day, divergence_limits, orders_config, risk_limits
from kite_hft.engine.orders.transports import (
    OVER_HTTP,
    REGISTERED,
    SANDBOX,
    Transport,
    absent_hosts,
    make_transport,
    no_answer,
    order_broker,
)
from kite_hft.engine.orders.unwritten import Kills
from kite_hft.engine.orders.update_links import heard, hearing_ports
from kite_hft.engine.orders.waiting import Waiting
from kite_hft.engine.orders.warmth import warmth_of
from kite_hft.engine.plan.days import open_for
from kite_hft.engine.processes.children import Answers, outlive_parent
from kite_hft.engine.processes.control import ControlPipe
from kite_hft.engine.processes.segments import Segments
from kite_hft.engine.processes.warm import instruments_of
from kite_hft.layout import SegmentKind
from kite_hft.memory.counters import named
from kite_hft.memory.journal import Kind, Record
from kite_hft.settings import Settings
from kite_hft.stages.orders import Orders
from kite_hft.trading.alerts import alert
from kite_hft.trading.book import Book
from kite_hft.trading.broker import Broker
from kite_hft.trading.gate.broker_clock import BrokerClock
from kite_hft.trading.gate.facts import Facts
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import Ports
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS
from kite_hft.trading.recovery.resuming import recovery_words

ACTIVE_S: Final = 60.0
TELL_S: Final = 2.0
"""So long the broker may be silent at the start before a person is told why."""
EXIT_NOT_ACTIVE: Final = 6


def run_orders(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = instruments_of(config["instruments"])
    clock = SystemClock()
    api = config["api"]
    account = Path(config["folder"]).parent.parent
    kills = kills_of(account, clock)
    if api["mode"] != "paper" and not config.get("own_simulator"):
        outlive_parent()  # else the broker dies with the supervisor, and nothing is left to be cancelled
    with contextlib.ExitStack() as held:
        latch = kills.watch
        held.callback(latch.close)
        segments = Segments(config["segments"])
        held.callback(segments.close)
        views = [
            *(segments.share(f"intents-{w['number']}", SegmentKind.INTENT_QUEUE).view
              for w in config["workers"]),
            *(segments.share(f"texts-{number}", SegmentKind.TEXT_QUEUE).view for number in config["texts"]),
        ]  # fmt: skip
        queues = [_queue.QueueConsumer(view) for view in views]
        intents, texts = queues[: len(config["workers"])], queues[len(config["workers"]) :]
        broker = order_broker(api, settings, instruments)
        transport, extra_texts, resume = make_transport(
            config, settings, instruments, broker, clock, answers.log
        )
        held.callback(transport.close)
        folder, wake_fd = Path(config["folder"]), config["wake_fds"]["orders"]
        journal = open_run_journal(config, settings, folder, clock, held, wake_fd)
        about = {"broker": settings.broker, "account": settings.account, "run": folder.name}
        tell = AlertsOut(answers, folder, settings.alerts.model_dump(mode="json"), clock, about)
        if journal.set_aside:
            answers.log(f"orders: the journal was torn: {journal.set_aside}")
        ports = _ports(
            config, settings, instruments, broker, segments, clock, held, transport, intents,
            [*heard(config, settings.broker, texts), *extra_texts], answers, kills, journal, tell,
        )  # fmt: skip
        stage = Orders(
            ports,
            orders_config(
                settings,
                loopback=api["mode"] in ("paper", SANDBOX) or is_loopback(api["url"]),
                charges=charges_of_day(settings, instruments, clock.real_ns()),
                registers=api["mode"] not in ("paper", SANDBOX) and not config.get("own_simulator"),
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
        kills.tell = tell
        waiting.at_beat = at_beat(tell, kills)
        if isinstance(transport, OVER_HTTP):
            waiting.warmth = warmth_of(stage, ports, folder, clock, held, answers.log)
        answers.placed(config["name"], config["place"])
        numbers = {n: index for w in config["workers"] for n, index, _slots in w["strategies"]}
        codes = strategy_codes(settings.strategies, numbers)
        return _run(stage, transport, clock, waiting, answers, tell, resume, api, codes)


def kills_of(account: Path, clock: Clock) -> Kills:
    """Who kills the account in this process, by a limit or a message, and from now on by SIGUSR1, too."""
    kills = Kills(account, LatchWatch(account), clock, disk)
    kill_by_signal(account, clock, "the order process", kills.stand_in)
    return kills


def at_beat(tell: AlertsOut, kills: Kills) -> Callable[[], None]:
    """What is looked at ten times a second: alerts that are kept, and a kill that no file says yet."""

    def look() -> None:
        kills.look()
        tell.look()

    return look


def _ports(
    config: dict[str, Any],
    settings: Settings,
    instruments: InstrumentTable,
    broker: Broker,
    segments: Segments,
    clock: Clock,
    held: contextlib.ExitStack,
    transport: Transport,
    intents: Sequence[_queue.QueueConsumer],
    texts: Sequence[Any],
    answers: Answers,
    kills: Kills,
    journal: RunJournal,
    tell: AlertsOut,
) -> Ports:
    """All that the stage is handed: files, queues, tables, and what earlier processes left."""
    folder, api = Path(config["folder"]), config["api"]
    own = api["mode"] == "paper" or bool(config.get("own_simulator"))
    named_broker = broker_name(settings.mode, api.get("url", ""), folder.name, own=own)
    earlier, restarted = earlier_of(config, folder, named_broker, instruments, journal.records)
    stamps_ahead = stamps_ahead_ns(settings, clock)
    latest = LatestOfAll(config["connections"], len(instruments), segments, stamps_ahead)
    counters = segments.own("counters-orders", SegmentKind.COUNTERS)
    counted = _counters.CounterReader(counters.view).values() if restarted else np.zeros(0, np.int64)

    def alarm(code: str, key: str, text: str) -> None:
        tell(alert(code, text, key).fields())

    known = named_broker, earlier.names, instruments
    charged = partial(charges_of_day, settings, instruments, clock.real_ns())
    names = {n: settings.strategies[i].name for w in config["workers"] for n, i, _slots in w["strategies"]}
    return Ports(
        **latch_ports(kills, "" if own else named_broker, names, alarm),
        strategy_names=names,
        day_so_far=None if restarted else day_so_far(folder, *known, risk_limits(settings), clock.real_ns()),
        day_net_paise=day_net_paise(folder, *known, charged),
        instruments=instruments,
        broker=broker,
        transport=transport,
        clock=clock,
        journal=journal.writer,
        synced_seq=lambda: journal.writer.synced_seq,
        journal_state=journal.writer.state,
        counters=_counters.CounterWriter(counters.view),
        latest=latest,
        facts=_facts(settings, instruments, clock, latest, answers.log, transport),
        intents=intents,
        texts=texts,
        events=_event_queues(segments, config),
        tags=Tags(config["install"], config["run_number"]),
        history=earlier.records,
        restarted=restarted,
        continues=earlier.names,
        not_continued=earlier.refused,
        counted=named("orders", counted) if restarted else {},
        written=written([*earlier.folders, folder]),
        broker_name=named_broker,
        on_order=open_csv(folder / "orders.csv", ORDER_COLUMNS, alarm, held),
        on_trade=open_csv(folder / "trades.csv", TRADE_COLUMNS, alarm, held),
        **evidence_ports(folder, settings, named_broker, alarm, clock, held),
        alert=tell,
        on_book=shelf(Path(config["shm"]), clock.real_ns, wanted=settings.trading.watchdog),
        fresh=FreshOfAll(config["connections"], len(instruments), segments, config["segments"]),
        open_for=open_for(settings, instruments, clock),
        leaves_from=transport.leaves_from if isinstance(transport, REGISTERED) else lambda: "",
        use_token=partial(_use_token, transport, broker, api.get("api_key", "")),
        **hearing_ports(config, settings.broker, segments, answers.log),
        workers={w["number"]: [n for n, _index, _slots in w["strategies"]] for w in config["workers"]},
    )


def earlier_of(
    config: Mapping[str, Any],
    folder: Path,
    broker: str,
    instruments: InstrumentTable,
    own: tuple[Record, ...],
) -> tuple[Earlier, bool]:
    """What processes before this one left, of its own run and of runs of the day that it continues; and
    whether one of its own run had begun. Without its START nothing was done: it says what it goes on from.

    own: records of this run's journal.
    """
    if any(record.kind is Kind.START for record in own):
        return Earlier(chain_of(folder), day_records(folder)), True
    same = {"build": config["build"], "rules_hash": config.get("rules_hash", 0)}
    found = find_earlier(folder, config["config_hash"], broker, instruments, **same)
    return replace(found, records=(*found.records, *own)), False


def _use_token(transport: Transport, broker: Broker, api_key: str, access_token: str) -> None:
    if isinstance(transport, OVER_HTTP):
        transport.use_headers(broker.auth_headers(api_key, access_token))


def _facts(
    settings: Settings,
    instruments: InstrumentTable,
    clock: Clock,
    latest: LatestOfAll,
    warn: Callable[[str], None],
    transport: Transport,
) -> Facts:
    """The gate's facts; its watch over the wall clock follows the broker's answers."""
    facts = market_facts(settings, instruments, clock, TickOf(latest.reader_of), warn)
    facts = replace(facts, feeds=latest.pair(instruments, divergence_limits(settings)))
    if isinstance(transport, OVER_HTTP) and facts.watch is not None:
        transport.dated = BrokerClock(clock.mono_ns, clock.real_ns, facts.watch).answered
    return facts


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
    stage: Orders,
    transport: Transport,
    clock: Clock,
    waiting: Waiting,
    answers: Answers,
    tell: AlertsOut,
    resume: Callable[[Book], None],
    api: Mapping[str, Any],
    codes: dict[str, Any],
) -> int:
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    stage.start()
    stage.outbox.journal(Kind.COMMAND, codes)
    resume(stage.book)
    started_ns, told = clock.mono_ns(), False
    while not (stage.active or stage.states.token_dead or stopping.is_set() or waiting.alone):
        waiting.round()
        if stage.unexplained:
            break  # a person has to end it, and needs an engine that can be asked
        waited_s, failure = (clock.mono_ns() - started_ns) / 1e9, no_answer(api, transport)
        if failure and waited_s > TELL_S and not told:
            told = True
            answers.log(f"orders: {failure}; it is tried for {ACTIVE_S:.0f} s")
        if waited_s > ACTIVE_S:
            why = failure or "the broker's books could not be read"
            answers.log(f"orders: not active after {ACTIVE_S:.0f} s: {why}")
            return EXIT_NOT_ACTIVE
    if stage.unexplained:
        answers.log(f"orders: NOT ACTIVE, nothing is sent: {stage.unexplained}")
    else:
        answers.log(f"orders: recovered: {recovery_words(stage.recovery())}")
    if words := stage.address.words():
        answers.log(f"orders: {words}")
    for words in absent_hosts(api, transport):
        answers.log(f"orders: {words}")
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
    see_through(stage, waiting.round, clock.mono_ns)
    summary = stage.close()
    tell.end(summary, time.sleep)
    fills: dict[str, Any] = getattr(transport, "parameters", dict)()  # of an exchange in this process
    answers.send(part=stage.report() | {"open": summary, "fills": fills})
    waiting.close()
    return 0
