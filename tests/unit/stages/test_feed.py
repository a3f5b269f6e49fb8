"""The feed stage: what it sends in which mode, and when it takes a connection for dead."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from kite_hft.brokers.kite.wire import KITE_WORDS, TOKENS_PER_MESSAGE, subscription
from kite_hft.stages.feed import HEARTBEAT_NS, Feed
from kite_hft.trading.feed_words import FeedWords

S = 1_000_000_000


class FakeSink:
    def __init__(self) -> None:
        self.last_frame_at_ns = 0
        self.events: list[str] = []
        self.modes: dict[int, int] = {}
        self.changes: list[tuple[int, int, int]] = []
        self.counters: dict[str, int] = {}

    def connected(self) -> None:
        self.events.append("connected")

    def disconnected(self) -> None:
        self.events.append("disconnected")

    def set_mode(self, slot: int, mode: int, now_ns: int) -> None:
        self.modes[slot] = mode
        self.changes.append((slot, mode, now_ns))

    def count(self, name: str, n: int = 1) -> None:
        self.counters[name] = self.counters.get(name, 0) + n

    def gauge(self, name: str, value: int) -> None:
        self.counters[name] = value


class Made:
    """A started feed of tokens 100, 101, ... in slots 0, 1, ..."""

    def __init__(self, *modes: str, words: FeedWords = KITE_WORDS) -> None:
        self.sink = FakeSink()
        self.beats: list[int] = []
        self.log: list[str] = []
        tokens = {100 + slot: mode for slot, mode in enumerate(modes)}
        slots = {token: token - 100 for token in tokens}
        self.feed = Feed(self.sink, words, tokens, slots, self.beats.append, 5 * S, log=self.log.append)
        self.feed.start(7)


def said(messages: list[bytes]) -> list[tuple[str, object]]:
    return [(json.loads(text)["a"], json.loads(text)["v"]) for text in messages]


def test_a_connection_is_subscribed_in_its_modes_every_time() -> None:
    made = Made("full", "ltp", "quote", "off", "full")
    for _ in range(2):
        assert said(made.feed.connected(1)) == [
            ("subscribe", [101]),
            ("mode", ["ltp", [101]]),
            ("subscribe", [102]),  # quote is what a bare subscribe brings
            ("subscribe", [100, 104]),
            ("mode", ["full", [100, 104]]),
        ]
        made.feed.disconnected()
    assert made.sink.events == ["connected", "disconnected"] * 2


def test_a_connection_without_subscription_sends_nothing() -> None:
    made = Made("off", "off")
    assert not made.feed.connected(1) and made.sink.counters["subscribed"] == 0


def test_modes_stand_where_others_read_them() -> None:
    made = Made("full", "ltp", "quote", "off")
    assert made.sink.modes == {0: 3, 1: 1, 2: 2, 3: 0}
    assert made.sink.counters["subscribed"] == 3
    assert made.sink.changes[0] == (0, 3, 7)


def test_many_tokens_go_in_several_messages() -> None:
    messages = said(subscription(range(1, 2 * TOKENS_PER_MESSAGE + 2), "full"))
    assert [action for action, _ in messages] == ["subscribe", "mode"] * 3
    sizes = [len(value if action == "subscribe" else value[1]) for action, value in messages]
    assert sizes == [TOKENS_PER_MESSAGE] * 4 + [1, 1]


def test_subscribing_at_run_time() -> None:
    made = Made("off", "ltp", "full", "off")
    messages = made.feed.subscribe([100, 101, 102, 999, 100], "full", 50)
    assert said(messages) == [
        ("subscribe", [100]),
        ("mode", ["full", [100]]),
        ("mode", ["full", [101]]),  # subscribed already, in another mode
    ]
    assert made.sink.counters["subscribed"] == 3 and made.sink.changes[-2:] == [(0, 3, 50), (1, 3, 50)]
    assert made.log == ["feed: 2 instruments in mode full"]
    assert made.feed.subscribe([100, 101, 102], "full", 60) == []
    assert said(made.feed.connected(1))[0] == ("subscribe", [100, 101, 102])


def test_a_mode_that_does_not_exist_changes_nothing() -> None:
    made = Made("off")
    for mode in ("off", "FULL", ""):
        with pytest.raises(ValueError, match="mode"):
            made.feed.subscribe([100], mode, 1)
    assert made.sink.modes == {0: 0}


def test_unsubscribing_at_run_time() -> None:
    made = Made("full", "full", "off")
    assert said(made.feed.unsubscribe([101, 102, 999], 50)) == [("unsubscribe", [101])]
    assert made.sink.modes == {0: 3, 1: 0, 2: 0} and made.sink.counters["subscribed"] == 1
    assert said(made.feed.connected(1)) == [("subscribe", [100]), ("mode", ["full", [100]])]
    assert made.feed.unsubscribe([101], 60) == []


def test_errors_and_notices_of_the_broker_are_said_and_errors_counted() -> None:
    made = Made("full")
    made.feed.on_text(b'{"type":"error","data":"Too many"}')
    made.feed.on_text(b'{"type":"message","data":"Maintenance at 7"}')
    made.feed.on_text(b'{"data":{"order_id":"1"},"type":"order"}')
    made.feed.on_text(b"not even JSON")
    assert made.log == ["feed: the broker says (error): Too many",
                        "feed: the broker says (message): Maintenance at 7"]  # fmt: skip
    assert made.sink.counters["text_errors"] == 1


def test_silence_counts_from_the_last_frame_or_the_connection() -> None:
    made = Made("full")
    assert not made.feed.is_silent(100 * S)
    made.feed.connected(10 * S)
    assert not made.feed.is_silent(15 * S) and made.feed.is_silent(15 * S + 1)
    assert not made.feed.has_delivered()
    made.sink.last_frame_at_ns = 14 * S
    assert not made.feed.is_silent(19 * S) and made.feed.is_silent(19 * S + 1)
    assert made.feed.has_delivered()


def test_heartbeats_every_tenth_of_a_second() -> None:
    made = Made("full")
    for now in range(0, 5 * HEARTBEAT_NS, HEARTBEAT_NS // 4):
        made.feed.step(now)
    assert made.beats == [n * HEARTBEAT_NS for n in range(5)]


def test_close_says_goodbye_once() -> None:
    made = Made("full")
    made.feed.connected(1)
    made.feed.close()
    made.feed.close()
    assert made.sink.events == ["connected", "disconnected"]


WITHOUT_HEARTBEATS = replace(KITE_WORDS, heartbeats=False)


def test_a_pong_is_a_sign_of_life_where_the_broker_sends_no_heartbeats() -> None:
    for words, alive in ((WITHOUT_HEARTBEATS, True), (KITE_WORDS, False)):
        made = Made("full", words=words)
        made.feed.connected(1 * S)
        made.feed.ponged(4 * S)
        assert made.feed.is_silent(7 * S) is not alive and made.sink.counters["pongs"] == 1
        assert made.sink.counters.get("last_frame_ns", 0) == (4 * S if alive else 0)
        assert made.feed.is_silent(10 * S)


def test_pongs_without_data_are_not_enough_in_market_hours() -> None:
    made = Made("full", "off", words=WITHOUT_HEARTBEATS)
    made.feed.quiet_ns, is_open = 60 * S, [True]
    made.feed.is_open = lambda: is_open[0]
    made.feed.connected(0)

    def at(seconds: int) -> bool:
        made.feed.ponged(seconds * S)
        return made.feed.is_silent(seconds * S)

    assert not at(59) and at(61)
    made.sink.last_frame_at_ns = 50 * S
    assert not at(61) and at(111)
    is_open[0] = False
    assert not at(1000)
    is_open[0] = True
    made.feed.unsubscribe([100], 1)
    made.feed.connected(900 * S)
    assert not at(1100)  # nothing is asked for


def test_the_time_before_the_market_opens_is_no_silence() -> None:
    """Connected at eight, and nothing came: at the opening the connection is as good as a new one."""
    made = quiet_feed()
    opens = 4500
    made.feed.connected(1 * S)
    for second in range(1, opens + 70):
        made.feed.is_open = lambda second=second: second >= opens  # type: ignore[misc]
        made.feed.ponged(second * S)
        if made.feed.is_silent(second * S):
            break
    assert second == opens + 60


def quiet_feed() -> Made:
    made = Made("full", words=WITHOUT_HEARTBEATS)
    made.feed.quiet_ns = 60 * S
    return made


def ends_after(made: Made, begins: int, each: int, upto: int) -> int:
    """When a connection of `begins` is given up that brings data at once and every `each` seconds; 0: not."""
    made.feed.connected(begins * S)
    for second in range(begins, begins + upto):
        if (second - begins) % each == 0:
            made.sink.last_frame_at_ns = second * S
        made.feed.ponged(second * S)
        if made.feed.is_silent(second * S):
            assert made.feed.is_silent(second * S), "asked twice it says the same"
            made.feed.disconnected()
            return second - begins
    made.feed.disconnected()
    return 0


def test_what_hardly_trades_is_not_reconnected_again_and_again() -> None:
    made = quiet_feed()
    assert ends_after(made, 1, 90, 3600) == 61
    assert ends_after(made, 100, 90, 3600) == 0, "it is known by now"
    assert ends_after(made, 4000, 5000, 6000) == 121, "twice as long, and no longer"
    assert ends_after(made, 10_100, 5000, 6000) == 241
    for begins in (20_000, 30_000, 40_000, 50_000):
        longest = ends_after(made, begins, 5000, 6000)
    assert longest == 16 * 60 + 1


def test_after_steady_data_it_is_as_strict_as_before() -> None:
    made = quiet_feed()
    assert ends_after(made, 1, 9000, 3600) == 61
    assert ends_after(made, 100, 30, 700) == 0
    assert ends_after(made, 900, 9000, 3600) == 61


def test_a_connection_without_subscriptions_has_delivered_when_the_peer_lives() -> None:
    made = Made("off", words=WITHOUT_HEARTBEATS)
    made.feed.connected(5 * S)
    assert not made.feed.has_delivered()
    made.feed.pinged(9 * S)
    assert made.feed.has_delivered(), "on a socket of order updates nothing else may come for hours"
    subscribed = quiet_feed()
    subscribed.feed.connected(5 * S)
    subscribed.feed.pinged(9 * S)
    assert not subscribed.feed.has_delivered()
