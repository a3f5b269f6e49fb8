"""Whatever a client sends, the API answers in Kite's envelope, and a refusal changes nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from hypothesis import given, settings
from hypothesis import strategies as st
from sim_tools import AUTH, EQUITY, MS, NOW, SECOND, TABLE, api_of, book_of

from kite_hft.sim.exchange.account import Holding
from kite_hft.sim.exchange.exchange import Exchange
from kite_hft.sim.exchange.rules import ExchangeParams
from kite_hft.sim.kite.api import KiteApi

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH")
STATUSES = {200, 302, 400, 403, 404, 405, 428}
PATHS = (
    "/orders", "/orders/{}", "/orders/{}/{}", "/orders/{}/trades", "/trades", "/session/token",
    "/session/refresh_token", "/connect/login", "/user/profile", "/user/profile/full", "/user/margins",
    "/user/margins/{}", "/portfolio/positions", "/portfolio/holdings", "/portfolio/holdings/summary",
    "/portfolio/holdings/compact", "/portfolio/holdings/auctions", "/portfolio/holdings/authorise",
    "/connect/portfolio/authorise/holdings/{}/{}", "/gtt/triggers", "/gtt/triggers/{}", "/alerts",
    "/alerts/{}", "/alerts/{}/history", "/quote", "/quote/ohlc", "/quote/ltp", "/instruments",
    "/instruments/{}", "/instruments/historical/{}/{}", "/instruments/trigger_range/{}",
    "/margins/orders", "/margins/basket", "/charges/orders", "/mf/orders", "/mf/orders/{}", "/mf/sips/{}",
    "/mf/instruments", "/{}", "/{}/{}/{}/{}/{}/{}",
)  # fmt: skip
WORDS = (
    "regular", "amo", "co", "iceberg", "auction", "SBIN", "SIMCE", "NSE", "NFO", "MCX", "GOLDM", "BUY",
    "SELL", "CNC", "MIS", "NRML", "MTF", "LIMIT", "MARKET", "SL", "SL-M", "DAY", "IOC", "TTL", "1", "75",
    "99.95",
    "-1", "0", "1e400", "nan", "", "true", "single", "two-leg", "day", "minute", "overnight", "simple", "ato",
    "2025-12-12", "2025-12-12 09:15:00", "779521", "key", "token", "null", "\x00", chr(0x1F600), "9" * 40,
)  # fmt: skip
FIELDS = (
    "exchange", "tradingsymbol", "transaction_type", "product", "order_type", "quantity", "price",
    "trigger_price", "validity", "validity_ttl", "disclosed_quantity", "market_protection", "tag",
    "iceberg_legs", "iceberg_quantity", "auction_number", "autoslice", "parent_order_id", "i", "from", "to",
    "type", "condition", "orders", "name", "operator", "basket", "old_product", "new_product",
    "position_type", "consider_positions", "mode", "isin", "uuid", "average_price", "order_id", "variety",
)  # fmt: skip
VALID = {
    "exchange": "NSE", "tradingsymbol": "SBIN", "transaction_type": "BUY", "product": "CNC", "quantity": "1",
    "order_type": "LIMIT", "price": "99", "variety": "regular", "average_price": "99", "order_id": "1",
    "condition": '{"exchange":"NSE","tradingsymbol":"SBIN","trigger_values":[99],"last_price":100}',
    "type": "single",
}  # fmt: skip

words = st.one_of(st.sampled_from(WORDS), st.text(max_size=8))
values = st.one_of(words, st.integers(), st.floats(), st.booleans(), st.none(), st.lists(words, max_size=2))
forms = st.dictionaries(st.sampled_from(FIELDS), words, max_size=8).map(lambda more: {**VALID, **more})
jsons = st.lists(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=8).map(lambda more: {**VALID, **more}),
    max_size=3,
).map(lambda rows: json.dumps(rows).encode())
bodies = st.one_of(forms.map(lambda form: urlencode(form).encode()), jsons, st.binary(max_size=40))


@st.composite
def requests(draw: Any) -> tuple[str, str, list[tuple[str, str]], bytes]:
    path = draw(st.sampled_from(PATHS))
    path = path.format(*(draw(words) for _ in range(path.count("{}"))))
    query = draw(st.lists(st.tuples(st.sampled_from(FIELDS), words), max_size=4))
    return draw(st.sampled_from(METHODS)), path, query, draw(bodies)


def fresh() -> KiteApi:
    exchange = Exchange(
        TABLE, 10**8, 1, ExchangeParams(latency_ns=(MS, MS)), opening_holdings=[Holding(EQUITY, 10, 2, 9_000)]
    )
    exchange.on_ticks(book_of(0, 10_000, 10_005, 10, last=10_000), NOW)
    exchange.on_ticks(book_of(1, 10_000, 10_005, 75, last=10_000), NOW)
    return api_of(exchange)


@settings(max_examples=150, deadline=None)
@given(st.lists(requests(), min_size=1, max_size=6))
def test_every_request_is_answered_in_the_envelope(sent: list[Any]) -> None:
    api = fresh()
    for number, (method, path, query, body) in enumerate(sent):
        before = len(api.exchange.orders)
        answer = api.handle(method, path, query, AUTH, body, NOW + number * SECOND)
        assert answer.status in STATUSES, (method, path, answer)
        if answer.content_type == "application/json":
            told = json.loads(answer.body)
            if answer.status == 200:
                assert told["status"] == "success" and "data" in told
            else:
                assert told["status"] == "error" and told["message"]
                assert told["error_type"].endswith("Exception")
                assert len(api.exchange.orders) == before
        else:
            assert answer.status in (200, 302)
