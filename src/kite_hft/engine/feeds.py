"""Layer 5, market process, hot: one connection's feed, and its worker where both share a process.

The process runs an event loop (uvloop) whose reads end in the compiled sink; a compute stage
beside it is stepped at the end of each read, without any hop. How the loop waits for the next read
is in engine/spinning.py. What the supervisor says meanwhile
(subscribe, unsubscribe, a new token) comes by the control pipe.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import uvloop

from kite_hft import _feed, _kite_decode, _queue
from kite_hft.brokers.kite.wire import MODES
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.children import Answers
from kite_hft.engine.console import classic_greeting, classic_voice
from kite_hft.engine.control import ControlPipe
from kite_hft.engine.segments import Segments
from kite_hft.engine.spinning import LoopSpinner
from kite_hft.engine.warm import instruments_of
from kite_hft.engine.workers import Worker, make_worker
from kite_hft.layout import SegmentKind
from kite_hft.net.ws import FeedLink
from kite_hft.settings import Settings
from kite_hft.stages.feed import OFF, Feed
from kite_hft.trading.alerts import alert
from kite_hft.trading.instruments import InstrumentTable

TIMER_S: Final = 0.1
MODE_NAMES: Final = {0: OFF, **{number: name for name, number in MODES.items()}}


@dataclass(slots=True)
class MarketFeed:
    """The feed of this process: its stage, its sink and its connection."""

    feed: Feed
    sink: _feed.FeedSink
    link: FeedLink
    clock: Clock
    answers: Answers
    greet: Callable[[], None] = lambda: None
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
        elif message["do"] == "token":
            self.link.renew(message["feed_url"])

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


def make_sink(
    instruments: InstrumentTable, segments: Segments, connection: int, wake_fd: int, *, frames: bool
) -> _feed.FeedSink:
    """The compiled sink of one connection. frames: the run has a ring for raw frames."""
    tokens = instruments.tokens()
    return _feed.FeedSink(
        _kite_decode.KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32), connection),
        tokens,
        segments.own(f"ticks-{connection}", SegmentKind.TICK_RING).view,
        segments.own(f"latest-{connection}", SegmentKind.LATEST_TABLE).view,
        segments.own(f"counters-feed-{connection}", SegmentKind.COUNTERS).view,
        segments.own(f"texts-{connection}", SegmentKind.TEXT_QUEUE).view,
        wake_fd=wake_fd,
        stats=segments.own(f"slots-{connection}", SegmentKind.SLOT_STATS).view,
        frames=segments.own(f"frames-{connection}", SegmentKind.FRAME_RING).view if frames else None,
        connection=connection,
    )


def modes_at_start(
    settings: Settings, instruments: InstrumentTable, slots: Iterable[int], sink: _feed.FeedSink
) -> dict[int, str]:
    """Token -> mode of a connection's instruments.

    As the configuration has them; after a restart of the process as they were before it, so that
    what was subscribed and unsubscribed since holds.

    Raises:
        InstrumentError: datafeed.modes names an instrument that the list does not have.
    """
    tokens = instruments.tokens()
    if sink.has_predecessor:
        return {int(tokens[slot]): MODE_NAMES[sink.mode_of(slot)] for slot in slots}
    special = {instruments.resolve(name).slot: mode for name, mode in settings.datafeed.modes.items()}
    return {int(tokens[slot]): special.get(slot, settings.datafeed.mode) for slot in slots}


def make_feed(
    settings: Settings,
    instruments: InstrumentTable,
    segments: Segments,
    clock: Clock,
    config: Mapping[str, Any],
    answers: Answers,
) -> MarketFeed:
    """The feed of this process, ready to connect."""
    number = config["connection"]["number"]
    sink = make_sink(
        instruments,
        segments,
        number,
        config["wake_fds"]["orders"],
        frames=f"frames-{number}" in config["segments"],
    )
    tokens, slots = instruments.tokens(), config["connection"]["slots"]
    feed = Feed(
        sink,
        modes_at_start(settings, instruments, slots, sink),
        {int(tokens[slot]): slot for slot in slots},
        segments.heartbeat,
        round(settings.datafeed.silence_s * 1e9),
        log=answers.log,
        name=f"feed-{number}",
    )
    feed.start(clock.mono_ns())
    sink.after_text = feed.on_text
    link = FeedLink(feed, sink, config["feed_url"], clock, answers.log, ping_s=settings.datafeed.ping_s)
    made = MarketFeed(feed, sink, link, clock, answers)
    feed.on_connected = made.connected
    link.token_dead = made.token_dead
    if settings.console.classic:
        made.greet = classic_greeting(settings, instruments, classic_voice(settings, clock, answers.log))
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
    timers = loop.create_task(_timers(market.feed, clock))
    spinner.start()
    answers.placed(config["name"], config["place"])
    answers.send(ready={})
    try:
        await market.link.run()
    finally:
        timers.cancel()
        market.feed.close()
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


async def _timers(feed: Feed, clock: Clock) -> None:
    while True:
        feed.step(clock.mono_ns())
        await asyncio.sleep(TIMER_S)
