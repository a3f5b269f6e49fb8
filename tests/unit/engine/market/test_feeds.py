"""The feed of a process: its instruments' modes, and what the supervisor may tell it."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError

from kite_hft.brokers.kite.wire import KITE_WORDS, MODES
from kite_hft.clock import ManualClock
from kite_hft.engine.market.feeds import MarketFeed, aux_kinds, modes_at_start
from kite_hft.engine.market.links import MARKET, renew
from kite_hft.layout import AuxKind
from kite_hft.settings import DatafeedSection, Settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.feed import Feed
from kite_hft.trading.instruments import InstrumentError

INSTRUMENTS, _ = default_instruments(6, 1)
TOKENS = [int(token) for token in INSTRUMENTS.tokens()]
KEYS = [row.key for row in INSTRUMENTS]


class FakeSink:
    """Remembers modes as the shared rows do."""

    def __init__(self, modes: dict[int, int] | None = None) -> None:
        self.has_predecessor = modes is not None
        self.modes = modes or {}
        self.last_frame_at_ns = 0

    def mode_of(self, slot: int) -> int:
        return self.modes[slot]

    def set_mode(self, slot: int, mode: int, now_ns: int) -> None:
        self.modes[slot] = mode

    def connected(self) -> None: ...

    def gauge(self, name: str, value: int) -> None: ...


class FakeLink:
    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.urls: list[str] = []

    def send(self, messages: list[bytes]) -> None:
        self.sent += messages

    def renew(self, url: str, *_more: object) -> None:
        self.urls.append(url)


class FakeAnswers:
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.alerts: list[dict[str, Any]] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def send(self, **message: Any) -> None:
        self.alerts.append(message["alert"])


def settings(**datafeed: Any) -> Settings:
    return Settings(datafeed=DatafeedSection(**datafeed))


def told(broker: str) -> dict[str, str]:
    return {"broker": broker, "url": "ws://new", "api_key": "k", "access_token": "t"}


@pytest.fixture
def market() -> SimpleNamespace:
    sink, link, answers = FakeSink(), FakeLink(), FakeAnswers()
    slots = dict(zip(TOKENS, range(6), strict=True))
    modes = modes_at_start(
        settings(mode="full", modes={KEYS[2]: "off"}), INSTRUMENTS, range(3), sink, KITE_WORDS
    )
    feed = Feed(sink, KITE_WORDS, modes, slots, lambda now_ns: None, 1, log=answers.log, name="feed-1")
    made = MarketFeed(feed, sink, link, ManualClock(5, 5), answers, partial(renew, link, MARKET))
    feed.on_connected = made.connected
    feed.start(1)
    return SimpleNamespace(market=made, sink=sink, link=link, answers=answers, feed=feed)


def test_modes_come_from_the_configuration() -> None:
    configured = settings(mode="quote", modes={KEYS[1]: "full", KEYS[2]: "off", KEYS[5]: "ltp"})
    found = modes_at_start(configured, INSTRUMENTS, [0, 1, 2], FakeSink(), KITE_WORDS)
    assert found == {TOKENS[0]: "quote", TOKENS[1]: "full", TOKENS[2]: "off"}
    with pytest.raises(InstrumentError):
        modes_at_start(settings(modes={"NSE:NOBODY": "full"}), INSTRUMENTS, [0], FakeSink(), KITE_WORDS)


def test_after_a_restart_modes_are_what_they_were() -> None:
    before = FakeSink({0: MODES["ltp"], 1: 0, 2: MODES["full"]})
    found = modes_at_start(settings(mode="quote"), INSTRUMENTS, [0, 1, 2], before, KITE_WORDS)
    assert found == {TOKENS[0]: "ltp", TOKENS[1]: "off", TOKENS[2]: "full"}


def test_subscribing_and_unsubscribing_reach_broker_and_memory(market: SimpleNamespace) -> None:
    tokens = [TOKENS[2], TOKENS[5]]  # the second is on another connection
    market.market.obey([{"do": "subscribe", "tokens": tokens, "mode": "ltp"}])
    market.market.obey([{"do": "unsubscribe", "tokens": [TOKENS[0]]}])
    assert [b"subscribe" in text for text in market.link.sent] == [True, False, True]
    assert b"unsubscribe" in market.link.sent[2] and str(TOKENS[5]).encode() not in b"".join(market.link.sent)
    assert market.sink.modes == {0: 0, 1: 3, 2: 1}


@pytest.mark.parametrize(
    "message",
    [
        {"do": "subscribe", "tokens": [TOKENS[0]], "mode": "everything"},
        {"do": "subscribe", "tokens": [TOKENS[0]]},
        {"do": "subscribe", "tokens": 5, "mode": "ltp"},
        {"do": "token"},
        {},
    ],
)
def test_what_cannot_be_done_is_said_and_changes_nothing(market: SimpleNamespace, message: dict) -> None:
    before = dict(market.sink.modes)
    market.market.obey([message, {"do": "unsubscribe", "tokens": [TOKENS[1]]}])
    assert any("was not done" in line for line in market.answers.lines)
    assert market.sink.modes == before | {1: 0}


def test_a_dead_token_is_an_alert_until_a_connection_proves_the_new_one(market: SimpleNamespace) -> None:
    market.feed.connected(1)
    assert not market.answers.alerts
    market.market.token_dead("refused with 403")
    market.market.obey([{"do": "token", "feed": told("kite")}, {"do": "token", "feed": told("upstox")}])
    assert market.link.urls == ["ws://new?api_key=k&access_token=t"] and len(market.answers.alerts) == 1
    for _ in range(2):
        market.feed.connected(2)
    raised, cleared = market.answers.alerts
    assert (raised["code"], raised["key"], raised.get("cleared")) == ("TOKEN_DEAD", "feed-1", None)
    assert (cleared["code"], cleared["key"], cleared["cleared"]) == ("TOKEN_DEAD", "feed-1", True)


def test_which_aux_records_are_asked_for() -> None:
    def kinds(aux: Any) -> tuple[int, ...]:
        return aux_kinds(Settings(broker="upstox", datafeed=DatafeedSection(aux=aux)))

    assert aux_kinds(settings()) == kinds([]) == ()
    assert kinds(True) == tuple(int(kind) for kind in AuxKind)
    assert kinds(["greeks", "depth", "greeks"]) == (AuxKind.GREEKS, AuxKind.DEPTH)
    with pytest.raises(ValidationError):
        settings(aux=["everything"])
