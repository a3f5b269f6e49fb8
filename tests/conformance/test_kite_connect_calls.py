"""Every public method of the official client, unchanged, against the simulator: what comes back has
the names, kinds and formats of the broker's official mock data. Only `root=` is set."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import importlib.metadata
import inspect
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from kiteconnect import KiteConnect
from kiteconnect import exceptions as ex
from mock_shapes import differences, mock
from sim_tools import Running, simulator

SIDE = {"exchange": "NSE", "tradingsymbol": "INFY"}
ORDER = SIDE | {
    "transaction_type": "BUY", "variety": "regular", "product": "CNC", "order_type": "LIMIT", "quantity": 1,
    "price": 1400, "trigger_price": 0,
}  # fmt: skip


@dataclass
class Scene:
    """A client with some past: ids of what it has done, and the last raw answer it got."""

    running: Running
    kite: KiteConnect
    raw: dict[str, Any] = field(default_factory=dict)
    done: str = ""
    cover: str = ""
    cover_stop: str = ""
    gtt: int = 0
    iceberg: str = ""
    auction: str = ""

    def quote(self, key: str = "NSE:INFY") -> dict[str, Any]:
        return dict(self.kite.quote(key)[key])

    def open_order(self) -> str:
        """A fresh order that waits far below the market."""
        price = round(self.quote()["lower_circuit_limit"] * 20 + 20) / 20
        order_id: str = self.kite.place_order("regular", "NSE", "INFY", "BUY", 2, "CNC", "LIMIT", price=price)
        return self.until(order_id, "OPEN")

    def until(self, order_id: str, *statuses: str) -> str:
        deadline = time.monotonic() + 20
        while (row := self.kite.order_history(order_id)[-1])["status"] not in statuses:
            assert time.monotonic() < deadline, row
            time.sleep(0.01)
        return order_id

    def place_gtt(self) -> int:
        last = self.quote()["last_price"]
        orders = [{"transaction_type": "BUY", "quantity": 1, "order_type": "LIMIT", "product": "CNC"}]
        low = round(last * 18) / 20
        orders[0]["price"] = low
        return int(self.kite.place_gtt("single", "INFY", "NSE", [low], last, orders)["trigger_id"])

    def login(self) -> dict[str, Any]:
        app = json.loads(self.running.get("/_sim/app"))
        data: dict[str, Any] = self.kite.generate_session(app["request_token"], app["api_secret"])
        return data


def authorise(running: Running, kite: KiteConnect) -> str:
    """Begin an authorisation of all holdings as the app does; the page where its user ends it."""
    headers = {"Authorization": f"token {kite.api_key}:{kite.access_token}"}
    answer = kite.reqsession.post(f"{running.api}/portfolio/holdings/authorise", headers=headers).json()
    request_id = answer["data"]["request_id"]
    return f"{running.api}/connect/portfolio/authorise/holdings/{kite.api_key}/{request_id}"


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with simulator("--instruments", "60", "--rate", "5", "--no-limits", "--latency-us", "0") as running:
        kite = KiteConnect(running.api_key, access_token=running.access_token, root=running.api)
        ready = Scene(running, kite)

        def keep(response: Any, *_: Any, **__: Any) -> None:
            if "json" in response.headers["content-type"]:
                ready.raw = response.json()

        kite.reqsession.hooks["response"].append(keep)
        ready.done = kite.place_order(
            "regular", "NSE", "SBIN", "BUY", 5, "MIS", "MARKET", market_protection=-1, tag="shape"
        )
        ready.until(ready.done, "COMPLETE")
        low = round(ready.quote("NSE:ITC")["last_price"] * 19) / 20
        ready.cover = kite.place_order(
            "co", "NSE", "ITC", "BUY", 3, "MIS", "MARKET", trigger_price=low, market_protection=-1
        )
        ready.until(ready.cover, "COMPLETE")
        (second,) = [o["order_id"] for o in kite.orders() if o["parent_order_id"] == ready.cover]
        ready.cover_stop = ready.until(second, "TRIGGER PENDING")
        ready.gtt = ready.place_gtt()
        price = ready.quote()["lower_circuit_limit"]
        ready.iceberg = kite.place_order(
            "iceberg", "NSE", "INFY", "BUY", 10, "CNC", "LIMIT", price=price, iceberg_legs=2,
            iceberg_quantity=5, validity="TTL", validity_ttl=2, tag="iceberg",
        )  # fmt: skip
        (owed,) = kite.get_auction_instruments()
        kite.reqsession.get(authorise(running, kite))
        ready.auction = kite.place_order(
            "auction", owed["exchange"], owed["tradingsymbol"], "SELL", 1, "CNC", "LIMIT",
            price=owed["last_price"], auction_number=owed["auction_number"],
        )  # fmt: skip
        yield ready
        kite.reqsession.close()


@dataclass(frozen=True)
class Case:
    """A method, how it is called, which mock its raw answer looks like."""

    method: str
    call: Callable[[Scene], Any]
    like: str | None = None
    dig: Callable[[Any], Any] = lambda data: data
    optional: frozenset[str] = frozenset()
    name: str = ""


def _basket(s: Scene, **more: Any) -> Any:
    rows = s.kite.instruments("NFO")
    call, put = (next(r for r in rows if r["instrument_type"] == kind) for kind in ("CE", "PE"))
    legs = [
        ORDER | {"exchange": "NFO", "tradingsymbol": r["tradingsymbol"], "product": "NRML",
                 "quantity": r["lot_size"], "transaction_type": side, "price": 100}
        for r, side in ((call, "SELL"), (put, "BUY"))
    ]  # fmt: skip
    return s.kite.basket_order_margins(legs, **more)


def _candles(s: Scene, token: int, interval: str = "minute", **more: Any) -> Any:
    now = dt.datetime.now(dt.timezone(dt.timedelta(hours=5, minutes=30))).replace(tzinfo=None)
    return s.kite.historical_data(token, now - dt.timedelta(days=5), now, interval, **more)


def _future(s: Scene) -> int:
    return int(
        next(r["instrument_token"] for r in s.kite.instruments("NFO") if r["instrument_type"] == "FUT")
    )


def _modify_gtt(s: Scene) -> Any:
    last = s.quote()["last_price"]
    price = round(last * 17) / 20
    order = {
        "transaction_type": "BUY",
        "quantity": 2,
        "order_type": "LIMIT",
        "product": "CNC",
        "price": price,
    }
    return s.kite.modify_gtt(s.gtt, "single", "INFY", "NSE", [price], last, [order])


# A row of each variety is in the book; what only some of them have is checked where it is.
ROW_OPTIONAL = frozenset({"[].terminal_id", "[].auction_number", "[].meta.iceberg"})
CASES = [
    Case("profile", lambda s: s.kite.profile(), "profile.json"),
    Case("margins", lambda s: s.kite.margins(), "margins.json"),
    Case("margins", lambda s: s.kite.margins("equity"), "margins_equity.json", name="equity"),
    Case("margins", lambda s: s.kite.margins("commodity"), "margin_commodity.json", name="commodity"),
    Case("place_order", lambda s: s.open_order() and s.kite.place_order(
        "regular", "NSE", "INFY", "BUY", 1, "CNC", "LIMIT", price=s.quote()["lower_circuit_limit"]),
        "order_response.json"),
    Case("place_autoslice_order", lambda s: s.kite.place_autoslice_order(
        "regular", "NFO", _sliced(s)["tradingsymbol"], "BUY", 4000, "NRML", "LIMIT", price=_sliced(s)["px"]),
        "autoslice_response.json", optional=frozenset({".children[].error", ".children[].order_id"})),
    Case("modify_order", lambda s: s.kite.modify_order("regular", s.open_order(), quantity=3),
         "order_modify.json"),
    Case("cancel_order", lambda s: s.kite.cancel_order("regular", s.open_order()), "order_cancel.json"),
    Case("exit_order", lambda s: s.kite.exit_order("co", s.cover_stop, parent_order_id=s.cover),
         "order_cancel.json"),
    Case("orders", lambda s: s.kite.orders(), "orders.json", optional=ROW_OPTIONAL),
    Case("order_history", lambda s: s.kite.order_history(s.done), "orders.json", optional=ROW_OPTIONAL),
    Case("trades", lambda s: s.kite.trades(), "trades.json"),
    Case("order_trades", lambda s: s.kite.order_trades(s.done), "order_trades.json"),
    Case("positions", lambda s: s.kite.positions(), "positions.json"),
    Case("holdings", lambda s: s.kite.holdings(), "holdings.json"),
    Case("get_auction_instruments", lambda s: s.kite.get_auction_instruments(), "auctions_list.json"),
    Case("convert_position", lambda s: s.kite.convert_position("NSE", "SBIN", "BUY", "day", 1, "MIS", "CNC"),
         "convert_position.json"),
    Case("mf_orders", lambda s: s.kite.mf_orders(), "mf_orders.json"),
    Case("mf_orders", lambda s: s.kite.mf_orders(s.kite.mf_orders()[1]["order_id"]), "mf_orders_info.json",
         name="one"),
    Case("mf_sips", lambda s: s.kite.mf_sips(), "mf_sips.json"),
    Case("mf_sips", lambda s: s.kite.mf_sips(s.kite.mf_sips()[0]["sip_id"]), "mf_sip_info.json", name="one"),
    Case("mf_holdings", lambda s: s.kite.mf_holdings(), "mf_holdings.json"),
    Case("quote", lambda s: s.kite.quote("NSE:INFY", "NSE:SBIN"), "quote.json"),
    Case("ohlc", lambda s: s.kite.ohlc(["NSE:INFY", "NSE:NIFTY 50"]), "ohlc.json"),
    Case("ltp", lambda s: s.kite.ltp("NSE:INFY"), "ltp.json"),
    Case("historical_data", lambda s: _candles(s, 408065), "historical_minute.json"),
    Case("historical_data", lambda s: _candles(s, _future(s), oi=True), "historical_oi.json", name="oi"),
    Case("trigger_range", lambda s: s.kite.trigger_range("BUY", "NSE:INFY"), "trigger_range.json"),
    Case("get_gtts", lambda s: s.kite.get_gtts(), "gtt_get_orders.json"),
    Case("get_gtt", lambda s: s.kite.get_gtt(s.gtt), "gtt_get_orders.json", dig=lambda rows: rows[0]),
    Case("place_gtt", lambda s: s.place_gtt() and None, "gtt_place_order.json"),
    Case("modify_gtt", _modify_gtt, "gtt_modify_order.json"),
    Case("delete_gtt", lambda s: s.kite.delete_gtt(s.place_gtt()), "gtt_delete_order.json"),
    Case("order_margins", lambda s: s.kite.order_margins([ORDER]), "order_margins.json"),
    Case("basket_order_margins", _basket, "basket_margins.json"),
    Case("get_virtual_contract_note", lambda s: s.kite.get_virtual_contract_note(
        [ORDER | {"order_id": "1", "average_price": 1400.5}]), "virtual_contract_note.json"),
    Case("generate_session", lambda s: s.login(), "generate_session.json",
         optional=frozenset({".avatar_url"})),
]  # fmt: skip


def _sliced(s: Scene) -> dict[str, Any]:
    """An option with a freeze quantity, and a price at which a purchase waits."""
    row = next(r for r in s.kite.instruments("NFO") if r["instrument_type"] == "FUT")
    key = f"NFO:{row['tradingsymbol']}"
    return row | {"px": round(s.quote(key)["lower_circuit_limit"] * 20 + 1) / 20}


@pytest.mark.data
@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.method}-{c.name}".rstrip("-"))
def test_answers_look_like_the_official_mocks(case: Case, scene: Scene, data_dir: Path) -> None:
    case.call(scene)
    assert scene.raw["status"] == "success"
    assert case.like is not None
    faults = differences(scene.raw["data"], [case.dig(mock(data_dir, case.like))], case.optional)
    assert not faults, "\n".join(faults)


ELSEWHERE = {
    # Methods that answer no JSON of their own, or refuse; each has its test below.
    "instruments", "mf_instruments", "login_url", "set_access_token", "set_session_expiry_hook",
    "invalidate_access_token", "invalidate_refresh_token", "renew_access_token",
    "place_mf_order", "cancel_mf_order", "place_mf_sip", "modify_mf_sip", "cancel_mf_sip",
}  # fmt: skip


def test_the_client_is_the_locked_one_and_unchanged() -> None:
    """Version and hashes stand in the lock; each installed file has the hash of its wheel's record."""
    client = importlib.metadata.distribution("kiteconnect")
    lock = (Path(__file__).resolve().parents[2] / "locks/test.txt").read_text()
    pinned = re.search(r"^kiteconnect==(\S+) \\\n((?: .*\n)+)", lock, re.MULTILINE)
    assert pinned and pinned[1] == client.version and "--hash=sha256:" in pinned[2]
    checked = 0
    for file in client.files or ():
        if file.hash is not None and file.suffix == ".py":
            digest = hashlib.new(file.hash.mode, file.read_binary()).digest()
            assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == file.hash.value, file
            checked += 1
    assert checked > 4


def test_no_public_method_is_left_out() -> None:
    public = {name for name, _ in inspect.getmembers(KiteConnect, inspect.isfunction) if name[0] != "_"}
    assert public == {case.method for case in CASES} | ELSEWHERE


@pytest.mark.data
def test_instruments_have_the_official_columns(scene: Scene, data_dir: Path) -> None:
    answer = scene.kite.reqsession.get(
        scene.running.api + "/instruments",
        headers={"Authorization": f"token {scene.kite.api_key}:{scene.kite.access_token}"},
    )
    assert answer.headers["content-encoding"] == "gzip" and "csv" in answer.headers["content-type"]
    lines = answer.text.splitlines()
    assert lines[0] == (data_dir / "kite/instruments_all.csv").read_text().splitlines()[0]
    assert "256265,1001,NIFTY 50,NIFTY 50,0.0,,0.0,0.0,0,EQ,INDICES,NSE" in lines
    rows = scene.kite.instruments()
    assert len(rows) == 60 == len(lines) - 1
    assert {type(r["expiry"]) for r in rows} == {str, dt.date}
    for exchange in ("NSE", "NFO", "BSE", "CDS", "MCX"):
        part = scene.kite.instruments(exchange)
        assert part == [r for r in rows if r["exchange"] == exchange] and part
    for exchange in ("BFO", "BCD", "NCO"):  # exchanges of the broker without instruments here
        assert scene.kite.instruments(exchange) == []
    with pytest.raises(ex.InputException):
        scene.kite.instruments("NASDAQ")


@pytest.mark.data
def test_fund_instruments_have_the_official_columns(scene: Scene, data_dir: Path) -> None:
    rows = scene.kite.mf_instruments()
    header = (data_dir / "kite/mf_instruments.csv").read_text().splitlines()[0]
    assert list(rows[0]) == header.split(",")
    assert rows[0]["purchase_allowed"] is True and isinstance(rows[0]["last_price_date"], dt.date)


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("place_mf_order", ("INF000S01011", "BUY", None, 1000)),
        ("cancel_mf_order", ("1",)),
        ("place_mf_sip", ("INF000S01011", 1000, 12, "monthly")),
        ("modify_mf_sip", ("1", 1000)),
        ("cancel_mf_sip", ("1",)),
    ],
)
def test_funds_can_only_be_read(scene: Scene, method: str, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ex.PermissionException) as error:
        getattr(scene.kite, method)(*arguments)
    assert error.value.code == 403


@pytest.mark.data
@pytest.mark.parametrize(
    ("path", "like"),
    [
        ("/portfolio/holdings/summary", "holdings_summary.json"),
        ("/portfolio/holdings/compact", "holdings_compact.json"),
        ("/user/profile/full", "full_profile.json"),
    ],
)
def test_calls_that_other_official_clients_make(scene: Scene, data_dir: Path, path: str, like: str) -> None:
    headers = {"Authorization": f"token {scene.kite.api_key}:{scene.kite.access_token}"}
    answer = scene.kite.reqsession.get(scene.running.api + path, headers=headers).json()
    assert differences(answer["data"], [mock(data_dir, like)]) == []


def test_rows_of_the_varieties_carry_what_is_theirs(scene: Scene) -> None:
    rows = {row["order_id"]: row for row in scene.kite.orders()}
    assert rows[scene.iceberg]["meta"]["iceberg"] == {
        "leg": 1, "legs": 2, "leg_quantity": 5, "total_quantity": 10, "remaining_quantity": 5,
    }  # fmt: skip
    assert (rows[scene.iceberg]["quantity"], rows[scene.iceberg]["validity_ttl"]) == (5, 2)
    assert (rows[scene.auction]["variety"], rows[scene.auction]["auction_number"]) == ("auction", "20")
    assert rows[scene.cover]["variety"] == rows[scene.cover_stop]["variety"] == "co"


def test_login_page_leads_to_a_session_and_back_out(scene: Scene) -> None:
    """The whole flow: page, request token, session; then logout, hook and refusal."""
    kite, running = scene.kite, scene.running
    page = urllib.parse.urlsplit(kite.login_url())
    assert page.path == "/connect/login"
    answer = kite.reqsession.get(f"{running.api}{page.path}?{page.query}", allow_redirects=False)
    assert answer.status_code == 302
    back = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(answer.headers["location"]).query))
    assert (back["status"], back["action"]) == ("success", "login")
    secret = json.loads(running.get("/_sim/app"))["api_secret"]
    with pytest.raises(ex.TokenException):
        kite.generate_session(back["request_token"], "wrong secret")
    session = kite.generate_session(back["request_token"], secret)
    assert isinstance(session["login_time"], dt.datetime)
    assert kite.access_token == session["access_token"] and kite.profile()["user_id"] == session["user_id"]
    with pytest.raises(ex.TokenException):  # a request token serves once
        kite.generate_session(back["request_token"], secret)
    with pytest.raises(ex.TokenException):  # only approved platforms have one
        kite.renew_access_token("refresh", secret)
    with pytest.raises(ex.TokenException):
        kite.invalidate_refresh_token("refresh")
    old = kite.access_token
    called: list[bool] = []
    kite.set_session_expiry_hook(lambda: called.append(True))
    assert kite.invalidate_access_token() is True
    with pytest.raises(ex.TokenException) as error:
        kite.profile()
    assert error.value.code == 403 and called == [True]
    kite.session_expiry_hook = None
    fresh = scene.login()
    kite.set_access_token(fresh["access_token"])
    assert kite.access_token != old and kite.profile()["broker"] == "ZERODHA"
    assert hashlib.sha256(fresh["access_token"].encode()).digest()  # text, not bytes
