"""A feed's counters after every fault of its connection: the same as in the server's injection log."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from feed_tools import FeedUnderTest
from sim_tools import Running, simulator

MALFORMED = {"truncate": "cut_packet", "wrong_count": "wrong_count", "unknown_packet": "unknown_length"}
ENDS = {
    "drop": "closes_abrupt",
    "reset": "closes_abrupt",
    "silence": "watchdog_trips",
    "half_open": "watchdog_trips",
    "slow_consumer": "closes_abrupt",
}
ROWS = [
    *({"kind": kind, "count": 2} for kind in MALFORMED),
    {"kind": "drop"},
    {"kind": "reset"},
    {"kind": "silence", "for": 2},
    {"kind": "half_open", "for": 3},
    {"kind": "slow_consumer", "for": 0.4},
]


def post(running: Running, path: str, body: Any) -> Any:
    request = urllib.request.Request(running.api + path, json.dumps(body).encode(), method="POST")
    with urllib.request.urlopen(request, timeout=20) as got:
        return json.loads(got.read())


def struck(running: Running) -> dict[str, int]:
    """How often each kind of fault struck."""
    return json.loads(running.get("/_sim/stats"))["faults"]


@pytest.mark.parametrize("row", ROWS, ids=[row["kind"] for row in ROWS])
def test_each_fault_is_counted_once_and_survived(tmp_path: Path, row: dict[str, Any]) -> None:
    kind = row["kind"]
    with simulator("--instruments", "4", "--rate", "100") as running:
        feed = FeedUnderTest(tmp_path, running.ws_url, silence_s=1.2, ping_s=0.2)
        injected: list[int] = []  # ticks that had come by then
        again: list[int] = []  # the same, when the last connection was made

        def until() -> bool:
            counts = feed.counts()
            if counts["decoded"] > 10 and not injected:
                injected.append(counts["decoded"])
                post(running, "/_sim/inject", row)
            if not injected:
                return False
            if counts["connects"] < (2 if kind in ENDS else 1):
                return False
            if not again:  # what was in flight on the first connection does not count
                again.append(counts["decoded"])
            return counts["decoded"] > again[0] + 50

        async def scenario() -> None:
            await feed.run(until)

        asyncio.run(scenario())
        counts = feed.counts()
        assert struck(running) == {kind: row.get("count", 1)}
        wanted = {ENDS[kind]: 1} if kind in ENDS else {}
        for name in ("closes_abrupt", "closes_by_peer", "watchdog_trips", "unreachable", "refused_other"):
            assert counts[name] == wanted.get(name, 0), (name, feed.log)
        bad = {MALFORMED[kind]: 2} if kind in MALFORMED else {}
        for name, value in counts.items():
            if name.startswith("malformed_"):
                assert value == bad.get(name.removeprefix("malformed_"), 0), name
        assert counts["pings"] >= 1 and counts["pongs"] <= counts["pings"]
        assert feed.stats(0)["gaps"] == (kind in ENDS)


def test_a_token_that_dies_and_comes_back(tmp_path: Path) -> None:
    with simulator("--instruments", "4", "--rate", "100") as running:
        feed = FeedUnderTest(tmp_path, running.ws_url)
        told: list[str] = []

        def until() -> bool:
            counts = feed.counts()
            if counts["decoded"] > 10 and not told:
                told.append("dead")
                post(running, "/_sim/inject", {"kind": "token_death"})
            if feed.dead_tokens and len(told) == 1:
                fresh = post(running, "/_sim/login", {})["access_token"]
                told.append(fresh)
                feed.link.renew(running.ws_url.replace(running.access_token, fresh))
            return counts["connects"] == 2 and counts["connected"] == 1

        asyncio.run(feed.run(until))
        counts = feed.counts()
        assert counts["refused_403"] == 1 and len(feed.dead_tokens) == 1
        assert counts["closes_by_peer"] + counts["closes_abrupt"] == 1
        assert json.loads(running.get("/_sim/stats"))["faults"] == {"token_death": 1}


def test_a_fourth_connection_is_refused_until_one_is_free(tmp_path: Path) -> None:
    with simulator("--instruments", "4", "--rate", "100") as running:

        async def scenario() -> FeedUnderTest:
            others = []
            for number in range(3):
                (tmp_path / str(number)).mkdir()
                others.append(FeedUnderTest(tmp_path / str(number), running.ws_url))
            tasks = [asyncio.create_task(other.link.run()) for other in others]
            while not all(other.feed.is_connected for other in others):
                await asyncio.sleep(0.01)
            feed = FeedUnderTest(tmp_path, running.ws_url)

            def until() -> bool:
                if feed.counts()["refused_429"] >= 2:
                    others[0].link.stop()
                return feed.feed.is_connected

            await feed.run(until)
            for other in others:
                other.link.stop()
            await asyncio.gather(*tasks)
            return feed

        feed = asyncio.run(scenario())
        assert feed.counts()["refused_429"] >= 2 and feed.counts()["connects"] == 1
        assert any("leaked connection" in line for line in feed.log) and not feed.dead_tokens


def test_errors_of_the_server_are_counted_and_said(tmp_path: Path) -> None:
    with simulator("--instruments", "4", "--rate", "100") as running:
        feed = FeedUnderTest(tmp_path, running.ws_url)
        asked: list[int] = []

        def until() -> bool:
            if feed.counts()["decoded"] and not asked:
                asked.append(1)
                post(running, "/_sim/message", {"type": "error", "data": "an error"})
                post(running, "/_sim/message", {"type": "message", "data": "a notice"})
            return feed.counts()["texts"] == 2

        asyncio.run(feed.run(until))
        assert feed.counts()["text_errors"] == 1
        assert "feed-0: the broker says (error): an error" in feed.log
        assert "feed-0: the broker says (message): a notice" in feed.log
