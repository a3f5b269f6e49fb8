"""Layer 5, market process, hot: one connection's feed, and its worker where both share a process.

The process runs an event loop (uvloop) whose reads end in the compiled sink; a compute stage
beside it is stepped at the end of each read, without any hop. How the loop waits for the next read
is in engine/processes/spinning.py. What the supervisor says meanwhile
(subscribe, unsubscribe, a new token) comes by the control pipe.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import uvloop

from kite_hft import _feed, _kite_decode, _queue
from kite_hft.brokers.table import words_of
from kite_hft.clock import Clock, SystemClock
from kite_hft.configuring.models.broker import mode_of
from kite_hft.engine.market.console import classic_greeting, classic_voice
from kite_hft.engine.market.links import MARKET, link_of, renew
from kite_hft.engine.market.workers import Worker, make_worker
from kite_hft.engine.plan.days import sessions_now
from kite_hft.engine.processes.children import Answers
from kite_hft.engine.processes.control import ControlPipe
from kite_hft.engine.processes.segments import Segments
from kite_hft.engine.processes.spinning import LoopSpinner
from kite_hft.engine.processes.warm import instruments_of
from kite_hft.layout import AuxKind, SegmentKind
from kite_hft.settings import Settings
from kite_hft.stages.feed import OFF, Feed
from kite_hft.trading.alerts import alert
from kite_hft.trading.feed_words import FeedWords
from kite_hft.trading.instruments import InstrumentTable

TIMER_S: Final = 0.1
POLLED: Final = "polled"


class Link(Protocol):
    """The connection of a feed: a websocket's, or one that asks for quotes."""

    def stop(self) -> None: ...

    def send(self, messages: Sequence[bytes]) -> None: ...

    async def run(self) -> None: ...


@dataclass(slots=True)
class MarketFeed:
    """The feed of this process: its stage, its sink and its connection. renew: lets that use another token;
    close: what else ends with it.
    """

    feed: Feed
    sink: _feed.FeedSink
    link: Link
    clock: Clock
    answers: Answers
    renew: Callable[[Mapping[str, Any]], None]
    greet: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None
    is_token_dead: bool = False

    def obey(self, messages: Iterable[Mapping[str, Any]]) -> None:
        """Do what the supervisor says; a message that cannot be done is said and passed over."""
        for message in messages:
            try:
                self._do(message)
            except (KeyError, TypeError, ValueError) as error:
                self.answers.log(f"{self.feed.name}: {message.get('do')!r} was not done: {error}")

    def _do(self, message: Mapping[str, Any]) -> None:
        now_ns = self.clock.mono_ns()
        if message["do"] == "subscribe":
            self.link.send(self.feed.subscribe(message["tokens"], message["mode"], now_ns))
        elif message["do"] == "unsubscribe":
            self.link.send(self.feed.unsubscribe(message["tokens"], now_ns))
        elif message["do"] == "token" and message["feed"]["broker"] == self.feed.words.name:
            self.renew(message["feed"])

    def token_dead(self, text: str) -> None:
        """Tell a person; the link waits for another token meanwhile."""
        self.is_token_dead = True
        self.answers.send(alert=alert("TOKEN_DEAD", text, self.feed.name).fields())

    def connected(self) -> None:
        """A connection is up: its token is good."""
        if self.is_token_dead:
            self.is_token_dead = False
            cleared = alert("TOKEN_DEAD", "the broker takes the token", self.feed.name)
            self.answers.send(alert=cleared.fields() | {"cleared": True})
        self.greet()


def run_market(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    instruments = instruments_of(config["instruments"])
    segments = Segments(config["segments"])
    clock = SystemClock()
    worker = None
    try:
        if "compute" in config["stages"]:
            worker = make_worker(settings, instruments, segments, clock, config, answers)
        return uvloop.run(_run_loop(settings, instruments, segments, clock, config, answers, worker))
    finally:
        if worker is not None:
            worker.close(answers)
        segments.close()


def make_decoder(broker: str, instruments: InstrumentTable, connection: int) -> Any:
    """The compiled decoder of a broker's frames; POLLED: of rows that come from its quotes."""
    if broker == POLLED:
        from kite_hft import _tick_rows

        return _tick_rows.TickRowDecoder(instruments.tokens(), connection)
    slots = np.arange(len(instruments), dtype=np.uint32)
    if broker == "kite":
        return _kite_decode.KiteDecoder(instruments.tokens(), slots, connection)
    from kite_hft import _upstox_decode

    known = [row for row in instruments if row.upstox_key]
    return _upstox_decode.UpstoxDecoder(
        [row.upstox_key for row in known],
        np.array([row.slot for row in known], np.uint32),
        np.array([row.scale for row in known], np.float64),
        np.array([row.tick_px for row in known], np.int32),
        connection,
        np.array([row.token for row in known], np.uint32),
    )


def make_sink(
    instruments: InstrumentTable,
    segments: Segments,
    connection: int,
    wake_fd: int,
    *,
    frames: bool,
    aux: tuple[int, ...] = (),
    broker: str = "kite",
) -> _feed.FeedSink:
    """The compiled sink of one connection. frames: the run has a ring for raw frames. aux: which kinds of
    AUX it has a ring for."""
    more: dict[str, Any] = {}
    if aux:
        more = {"aux": segments.own(f"aux-{connection}", SegmentKind.AUX_RING).view, "aux_kinds": aux}
    return _feed.FeedSink(
        make_decoder(broker, instruments, connection),
        instruments.tokens(),
        segments.own(f"ticks-{connection}", SegmentKind.TICK_RING).view,
        segments.own(f"latest-{connection}", SegmentKind.LATEST_TABLE).view,
        segments.own(f"counters-feed-{connection}", SegmentKind.COUNTERS).view,
        segments.own(f"texts-{connection}", SegmentKind.TEXT_QUEUE).view,
        wake_fd=wake_fd,
        stats=segments.own(f"slots-{connection}", SegmentKind.SLOT_STATS).view,
        frames=segments.own(f"frames-{connection}", SegmentKind.FRAME_RING).view if frames else None,
        connection=connection,
        **more,
    )


def aux_kinds(settings: Settings) -> tuple[int, ...]:
    """The kinds of AUX records that the configuration asks for."""
    asked = settings.datafeed.aux
    if isinstance(asked, bool):
        return tuple(int(kind) for kind in AuxKind) if asked else ()
    return tuple(int(AuxKind[name.upper()]) for name in dict.fromkeys(asked))


def modes_at_start(
    settings: Settings,
    instruments: InstrumentTable,
    slots: Iterable[int],
    sink: _feed.FeedSink,
    words: FeedWords,
) -> dict[int, str]:
    """Token -> mode of a connection's instruments, in the broker's words.

    As the configuration has them; after a restart of the process as they were before it, so that
    what was subscribed and unsubscribed since holds.

    Raises:
        InstrumentError: datafeed.modes names an instrument that the list does not have.
    """
    tokens = instruments.tokens()
    if sink.has_predecessor:
        names = {0: OFF, **{number: name for name, number in words.modes.items()}}
        return {int(tokens[slot]): names[sink.mode_of(slot)] for slot in slots}
    feed = settings.datafeed
    special = {instruments.resolve(name).slot: mode for name, mode in feed.modes.items()}
    rows = [instruments[slot] for slot in slots]
    asked = {row.slot: special.get(row.slot) or feed.mode_of(row.kind, row.is_index) for row in rows}
    return {int(tokens[s]): OFF if mode == OFF else mode_of(words.name, mode) for s, mode in asked.items()}


def market_hours(
    settings: Settings, instruments: InstrumentTable, slots: Sequence[int], clock: Clock
) -> Callable[[], bool]:
    """Whether a market of one of these instruments is open now, by the calendar: others may trade longer."""
    sessions = sessions_now(settings, instruments, clock.real_ns())
    if sessions is None:
        return lambda: True
    opens, closes = min(sessions[0][slots], default=0), max(sessions[1][slots], default=0)
    return lambda: opens <= clock.real_ns() < closes


def make_feed(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: Mapping[str, Any],
    answers: Answers,
) -> MarketFeed:
    """The feed of this process, ready to connect."""
    number, broker = config["connection"]["number"], config["connection"]["broker"]
    words = words_of(broker, instruments)
    sink = make_sink(
        instruments,
        segments,
        number,
        config["wake_fds"]["orders"],
        frames=f"frames-{number}" in config["segments"],
        aux=aux_kinds(settings) if f"aux-{number}" in config["segments"] else (),
        broker=POLLED if settings.datafeed.is_polled else broker,
    )
    tokens, slots = instruments.tokens(), config["connection"]["slots"]
    feed = Feed(
        sink,
        words,
        modes_at_start(settings, instruments, slots, sink, words),
        {int(tokens[slot]): slot for slot in slots},
        segments.heartbeat,
        round(settings.datafeed.silence_s * 1e9),
        0 if words.heartbeats else round(settings.datafeed.quiet_s * 1e9),
        market_hours(settings, instruments, slots, clock),
        log=answers.log,
        name=f"feed-{number}",
    )
    feed.start(clock.mono_ns())
    sink.after_text = feed.on_text
    if settings.datafeed.is_polled:
        made = _polled(settings, feed, sink, instruments, config["feed"], clock, answers)
    else:
        link = link_of(feed, sink, MARKET, config["feed"], clock, answers.log, settings.datafeed.ping_s)
        made = MarketFeed(feed, sink, link, clock, answers, partial(renew, link, MARKET))
        link.token_dead = made.token_dead
    feed.on_connected = made.connected
    if settings.console.classic:
        voice = classic_voice(settings, clock, answers.log, Path(config["folder"]))
        made.greet = classic_greeting(settings, instruments, voice)
    return made


def _polled(
    settings: Settings,
    feed: Feed,
    sink: _feed.FeedSink,
    instruments: InstrumentTable,
    told: Mapping[str, Any],
    clock: Clock,
    answers: Answers,
) -> MarketFeed:
    """A feed that asks for its prices. What it needs is loaded here: not for every feed."""
    from kite_hft.engine.market.polled import polled_link, renew_polled

    link, polling = polled_link(settings, feed, sink, instruments, told, clock, answers.log)
    made = MarketFeed(feed, sink, link, clock, answers, partial(renew_polled, link), close=polling.close)
    polling.token_dead = made.token_dead
    return made


async def _run_loop(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: dict[str, Any],
    answers: Answers,
    worker: Worker | None,
) -> int:
    """The event loop around a feed, and compute where it shares the process."""
    loop = asyncio.get_running_loop()
    market = make_feed(settings, instruments, segments, clock, config, answers)
    loop.add_signal_handler(signal.SIGTERM, market.link.stop)
    if "control_fd" in config:
        control = ControlPipe(config["control_fd"])
        loop.add_reader(control.fileno(), lambda: market.obey(control.read()))
    failures: list[Exception] = []
    spinner = LoopSpinner(loop, config["place"]["wait"], clock)
    after_read: list[Callable[[], object]] = []
    if worker is not None:
        failed = _failing(failures, market.link.stop)
        step = _guarded(worker, failures, failed)
        after_read.append(worker.quick(step, failed))
        _step_on_events(loop, worker.events, step, config["wake_fds"][f"events-{config['worker']['number']}"])
    if config["place"]["wait"] == "adaptive":
        after_read.append(spinner.touch)
    market.sink.after_read = _in_turn(after_read)
    timers = loop.create_task(keep_time(market.feed, clock))
    spinner.start()
    answers.placed(config["name"], config["place"])
    answers.send(ready={})
    try:
        await market.link.run()
    finally:
        timers.cancel()
        market.feed.close()
        market.close()
    if failures:
        raise failures[0]
    return 0


def _in_turn(acts: list[Callable[[], object]]) -> Callable[[], object] | None:
    """All of them as one call; None: there is none."""
    if len(acts) < 2:
        return acts[0] if acts else None

    def both() -> None:
        for act in acts:
            act()

    return both


def _failing(failures: list[Exception], stop: Callable[[], None]) -> Callable[[Exception], None]:
    """A failure in a callback ends the process by name, not the connection."""

    def failed(error: Exception) -> None:
        failures.append(error)
        stop()

    return failed


def _guarded(
    worker: Worker, failures: list[Exception], failed: Callable[[Exception], None]
) -> Callable[[], None]:
    """worker.step for callbacks."""

    def step() -> None:
        if failures:
            return
        try:
            worker.step()
        except Exception as error:
            failed(error)

    return step


def _step_on_events(
    loop: asyncio.AbstractEventLoop, events: _queue.QueueConsumer, step: Callable[[], None], fd: int
) -> None:
    """Order events wake this process by an eventfd: its producer sees us parked for good."""

    def woken() -> None:
        os.eventfd_read(fd)
        step()

    loop.add_reader(fd, woken)
    while not events.park():
        step()


async def keep_time(feed: Feed, clock: Clock) -> None:
    """The stage's steps, beside the connection."""
    while True:
        feed.step(clock.mono_ns())
        await asyncio.sleep(TIMER_S)
