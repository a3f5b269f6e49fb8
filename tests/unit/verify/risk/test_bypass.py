"""Who may reach the broker's API: by the source, and by what a run showed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.sim.brokers.table import side_of
from kite_hft.verify.risk.audit import seen_in
from kite_hft.verify.risk.bypass import judge, source_faults

NAMES = {1: "supervisor", 2: "orders", 3: "market-0"}
LOG = """C 1 6 127.0.0.1 900
S 1 6 GET /instruments?extended=1 HTTP/1.1
C 2 13 127.0.0.1 900
S 2 13 GET /orders HTTP/1.1
S 2 13 POST /orders/regular HTTP/1.1
S 2 13 DELETE /orders/regular/7 HTTP/1.1
C 3 9 127.0.0.1 901
S 3 9 GET /?api_key=a&access_token=b HTTP/1.1
"""
SERVER = [
    {"method": "POST", "path": "/orders/regular"},
    {"method": "DELETE", "path": "/orders/regular/7"},
]
EVIDENCE = [
    {"call": "BEGIN", "part": "", "name": ""}, {"call": "ORDERS", "part": "read", "name": ""},
    {"call": "PLACE", "part": "entry", "name": "t1"}, {"call": "CANCEL", "part": "urgent", "name": "7"},
]  # fmt: skip


def wrong(log: str = LOG, server: Any = SERVER, evidence: Any = EVIDENCE, sent: int = 1) -> list[str]:
    return judge(seen_in(log), 900, NAMES, server, evidence, {"orders": {"sent": sent}})


def test_what_was_taken_back_before_it_left_is_at_no_socket() -> None:
    """It waited for a connection, and was cancelled: its place is paid, and that is all."""
    back = [*EVIDENCE, {"call": "PLACE", "part": "entry", "name": "t2"}]

    def found(sent: int, tags: set[str]) -> list[str]:
        orders = {"orders": {"sent": sent}}
        return judge(seen_in(LOG), 900, NAMES, SERVER, back, orders, taken_back=tags)

    assert found(2, {"t2", "never paid for"}) == []
    assert len(found(2, set())) == len(found(2, {"t1", "t2"})) == 2


def test_the_source_has_no_other_way() -> None:
    assert source_faults() == []


def test_a_module_that_opens_a_socket_or_makes_a_transport_is_named(tmp_path: Path) -> None:
    market, orders = tmp_path / "engine" / "market", tmp_path / "engine" / "orders"
    market.mkdir(parents=True)
    orders.mkdir()
    (market / "feeds.py").write_text("def f():\n    import socket\n")
    (market / "workers.py").write_text("from kite_hft.net.http import HttpTransport\n")
    (orders / "transports.py").write_text("from kite_hft.net.http import HttpTransport\n")
    assert source_faults(tmp_path) == [
        "engine/market/feeds.py imports socket",
        "engine/market/workers.py can make a transport of order calls",
    ]


def test_who_takes_a_bare_connection_or_the_line_for_quotes_is_named(tmp_path: Path) -> None:
    market = tmp_path / "engine" / "market"
    market.mkdir(parents=True)
    (market / "workers.py").write_text("from kite_hft.net.connection import Connection\n")
    (market / "polled.py").write_text("from kite_hft.net.quotes import QuoteLink\n")
    (market / "recorder.py").write_text("from kite_hft.net.quotes import QuoteLine\n")
    assert source_faults(tmp_path) == [
        "engine/market/recorder.py takes kite_hft.net.quotes",
        "engine/market/workers.py takes kite_hft.net.connection.Connection",
    ]


QUOTES = "C 3 9 127.0.0.1 900\nS 3 9 GET /quote?i=NSE:INFY HTTP/1.1\n"


def by_http(log: str, http: bool = True) -> list[str]:
    return judge(seen_in(log), 900, NAMES, SERVER, EVIDENCE, {"orders": {"sent": 1}}, http=http)


def test_a_feed_that_asks_for_prices_asks_for_quotes_and_nothing_else() -> None:
    assert by_http(LOG + QUOTES) == []
    assert by_http(LOG) == ["no feed asked for a quote: nothing was tried"]
    assert len(by_http(LOG + QUOTES, http=False)) == 2  # with a websocket it has nothing to ask there
    for line in ("GET /orders", "POST /quote?i=A", "GET /quote/../orders", "DELETE /orders/regular/1"):
        found = by_http(LOG + QUOTES + f"S 3 9 {line} HTTP/1.1\n")
        assert found == [f"market-0 sent {line}"]


def test_a_run_in_which_all_agree() -> None:
    assert wrong() == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("C 3 9 127.0.0.1 900\n", "market-0 connected"),
        ("C 99 9 127.0.0.1 900\n", "unknown process"),
        ("S 3 9 POST /orders/regular HTTP/1.1\n", "market-0 sent"),
        ("S 1 9 POST /orders/regular HTTP/1.1\n", "the supervisor sent"),
        ("S 1 9 GET /orders HTTP/1.1\n", "the supervisor sent"),
        ("S 2 9 PUT /orders/regular/7 HTTP/1.1\n", "MODIFY"),
        ("S 2 9 POST /orders/regular HTTP/1.1\n", "PLACE"),
        ("S 2 9 GET /trades HTTP/1.1\n", "reads"),
    ],
)
def test_whatever_goes_past_orders_is_named(line: str, word: str) -> None:
    assert any(word in text for text in wrong(LOG + line))


def test_counters_that_differ_are_named() -> None:
    assert any("PLACE" in text for text in wrong(server=SERVER[1:]))
    assert any("CANCEL" in text for text in wrong(evidence=EVIDENCE[:3]))
    assert any("2 orders sent" in text for text in wrong(sent=2))
    assert any("nothing was tried" in text for text in wrong("", [], [], 0))


UPSTOX_LOG = """C 1 6 127.0.0.1 900
S 1 6 GET /market-quote/instruments/exchange/complete.json.gz HTTP/1.1
C 2 13 127.0.0.1 900
S 2 13 GET /v2/order/retrieve-all HTTP/1.1
S 2 13 POST /v3/order/place HTTP/1.1
C 3 9 127.0.0.1 900
S 3 9 GET /v3/feed/market-data-feed/authorize HTTP/1.1
S 3 9 GET /market-data-feeder/v3/upstox-developer-api/feeds?code=a HTTP/1.1
C 4 9 127.0.0.1 900
S 4 9 GET /v2/feed/portfolio-stream-feed/authorize?update_types=order%2Cgtt_order HTTP/1.1
"""


def at_upstox(log: str) -> list[str]:
    names = {**NAMES, 4: "updates", 5: "recorder"}
    server = [{"method": "POST", "path": "/v3/order/place"}]
    report = {"orders": {"sent": 1}}
    return judge(seen_in(log), 900, names, server, EVIDENCE[:3], report, side_of("upstox"))


def test_keepers_of_feeds_ask_for_an_address_and_nothing_else() -> None:
    assert at_upstox(UPSTOX_LOG) == []


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("S 4 9 POST /v3/order/place HTTP/1.1\n", "updates sent"),
        ("S 3 9 GET /v2/order/retrieve-all HTTP/1.1\n", "market-0 sent"),
        ("C 5 9 127.0.0.1 900\n", "recorder connected"),
        ("S 5 9 GET /v3/feed/market-data-feed/authorize HTTP/1.1\n", "recorder sent"),
        ("S 2 9 DELETE /v3/order/cancel?order_id=1 HTTP/1.1\n", "CANCEL"),
    ],
)
def test_at_upstox_whatever_goes_past_orders_is_named(line: str, word: str) -> None:
    assert any(word in text for text in at_upstox(UPSTOX_LOG + line))
