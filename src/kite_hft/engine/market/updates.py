"""Layer 5, updates process, cold: the websocket that brings order updates, where market data does not.

Upstox sends them on a socket of their own; Kite on any, so a run with prices from elsewhere keeps one
without subscriptions. Text frames go to ORDERS by its queue, as a feed's do. What is missed while
the connection is down comes from the broker's books: ORDERS reads them when it stands again.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import uvloop

from kite_hft import _feed, _kite_decode
from kite_hft.brokers.table import updates_words
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.market.feeds import MarketFeed, keep_time
from kite_hft.engine.market.links import UPDATES, link_of, renew
from kite_hft.engine.processes.children import Answers
from kite_hft.engine.processes.control import ControlPipe
from kite_hft.engine.processes.segments import Segments
from kite_hft.engine.processes.warm import instruments_of
from kite_hft.layout import SegmentKind
from kite_hft.settings import Settings
from kite_hft.stages.feed import Feed

NAME = "updates"


def run_updates(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    segments = Segments(config["segments"])
    try:
        return uvloop.run(_run_loop(config, segments, SystemClock(), answers))
    finally:
        segments.close()


def make_sink(segments: Segments, connection: int, wake_fd: int) -> _feed.FeedSink:
    """The compiled sink of a connection that brings text alone; binary frames are counted and dropped."""
    none = np.zeros(0, np.uint32)
    return _feed.FeedSink(
        _kite_decode.KiteDecoder(none, none, connection),
        none,
        segments.own("updates-ring", SegmentKind.TICK_RING).view,
        segments.own("updates-latest", SegmentKind.LATEST_TABLE).view,
        segments.own(f"counters-feed-{connection}", SegmentKind.COUNTERS).view,
        segments.own(f"texts-{connection}", SegmentKind.TEXT_QUEUE).view,
        wake_fd=wake_fd,
        connection=connection,
    )


def make_updates(config: Mapping[str, Any], segments: Segments, clock: Clock, answers: Answers) -> MarketFeed:
    """The connection of this process, ready to be made."""
    settings = Settings.model_validate(config["settings"])
    sink = make_sink(segments, config["connection"]["number"], config["wake_fds"]["orders"])
    words = updates_words(config["feed"]["broker"], instruments_of(config["instruments"]))
    silence_ns = round(settings.datafeed.silence_s * 1e9)
    feed = Feed(sink, words, {}, {}, segments.heartbeat, silence_ns, log=answers.log, name=NAME)
    feed.start(clock.mono_ns())
    sink.after_text = feed.on_text
    link = link_of(feed, sink, UPDATES, config["feed"], clock, answers.log, settings.datafeed.ping_s)
    made = MarketFeed(feed, sink, link, clock, answers, partial(renew, link, UPDATES))
    feed.on_connected = made.connected
    link.token_dead = made.token_dead
    return made


async def _run_loop(config: dict[str, Any], segments: Segments, clock: Clock, answers: Answers) -> int:
    loop = asyncio.get_running_loop()
    made = make_updates(config, segments, clock, answers)
    loop.add_signal_handler(signal.SIGTERM, made.link.stop)
    if "control_fd" in config:
        control = ControlPipe(config["control_fd"])
        loop.add_reader(control.fileno(), lambda: made.obey(control.read()))
    timers = loop.create_task(keep_time(made.feed, clock))
    answers.placed(config["name"], config["place"])
    answers.send(ready={})
    try:
        await made.link.run()
    finally:
        timers.cancel()
        made.feed.close()
    return 0
