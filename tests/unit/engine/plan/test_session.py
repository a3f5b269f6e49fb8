"""Whom a run speaks to: keys and addresses by role, and the day's instruments from one list or two."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import raw_server

from kite_hft.engine.plan import master_fetch
from kite_hft.engine.plan import session as session_module
from kite_hft.engine.plan.master import day_instruments
from kite_hft.engine.plan.session import Access, Session, SessionError, configured, open_session
from kite_hft.engine.plan.simulator import command
from kite_hft.settings import Settings, SimulatorSection
from kite_hft.sim.__main__ import parser
from kite_hft.trading.instruments import InstrumentError

RULES = Path(__file__).parents[4] / "config"
NOW_NS = 1_795_150_800 * 10**9  # 2026-11-20 10:30 IST
TOKEN, SANDBOX = "live.token", "sandbox.token"


def settings(**sections: Any) -> Settings:
    made = Settings.model_validate(sections)
    files = {"indices": RULES / made.trading.indices}
    return made.model_copy(update={"trading": made.trading.model_copy(update=files)})


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Simulators that were asked for; none is really started."""
    found: list[tuple[Any, ...]] = []

    def start(section: SimulatorSection, broker: str, more: list[str], *, waits: bool) -> Any:
        found.append((broker, list(more), waits))
        process = SimpleNamespace(poll=lambda: None)
        return SimpleNamespace(
            process=process, ws_url=f"ws://127.0.0.1:{len(found)}", api_url=f"http://127.0.0.1:{len(found)}",
            api_key=f"key-{broker}", access_token=f"token-{broker}",
            stop=lambda: found.append(("stop", broker)),
        )  # fmt: skip

    monkeypatch.setattr(session_module, "start_simulator", start)
    monkeypatch.setattr(session_module, "fill_parameters", lambda url: {"url": url})
    return found


def test_mode_sim_starts_a_simulator_for_each_broker_of_the_run(started: list[tuple[Any, ...]]) -> None:
    said: list[str] = []
    one = open_session(settings(broker="upstox", upstox={"plus": True}), said.append)
    assert started == [("upstox", ["--plus"], True)] and "simulator listens on" in said[0]
    assert one.orders.order_urls == ("http://127.0.0.1:1",) == (one.orders.feed_url,)
    assert one.orders.instruments_url.startswith("http://127.0.0.1:1/") and one.own_simulator
    assert one.fills == {"url": "http://127.0.0.1:1"}
    started.clear()
    two = open_session(settings(broker="kite", data_broker="upstox"), said.append)
    # Nobody subscribes at the one that only takes orders: its market does not wait for it.
    assert started == [("kite", [], False), ("upstox", [], True)]
    assert (two.orders.broker, [a.broker for a in two.data]) == ("kite", ["upstox"])
    assert two.brokers == ("kite", "upstox") and two.data_of("upstox").access_token == "token-upstox"
    assert set(two.secrets()) == {"key-kite", "token-kite", "key-upstox", "token-upstox"}


def test_a_start_that_fails_leaves_no_simulator(
    started: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(broker="kite", data_broker="upstox", upstox={"access_token": "t"})
    with pytest.raises(SessionError, match=r"loopback addresses only; set mode, or leave upstox\.\*"):
        open_session(chosen, print)
    assert started[-1] == ("stop", "kite")


def test_paper_needs_the_keys_of_the_data_broker_and_no_others() -> None:
    with pytest.raises(SessionError, match=r"mode paper needs upstox\.access_token: .*kite-hft login"):
        open_session(settings(mode="paper", broker="kite", data_broker="upstox"), print)
    found = open_session(settings(mode="paper", broker="upstox", upstox={"access_token": TOKEN}), print)
    assert found.api_config() == {"mode": "paper"} and not found.own_simulator
    assert found.data[0].feed_config() == {
        "broker": "upstox", "url": "https://api.upstox.com", "api_key": "", "access_token": TOKEN,
        "url_key": "upstox.feed_url", "bind_address": "",
    }  # fmt: skip


def test_the_sandbox_gets_its_own_token_and_host_alone() -> None:
    words = {"access_token": TOKEN, "sandbox": True}
    with pytest.raises(SessionError, match=r"upstox\.sandbox_token"):
        open_session(settings(mode="paper", broker="upstox", upstox=words), print)
    words["sandbox_token"] = SANDBOX
    found = open_session(settings(mode="paper", broker="upstox", upstox=words), print)
    api = found.api_config()
    assert (api["mode"], api["url"], api["access_token"]) == (
        "sandbox",
        "https://api-sandbox.upstox.com",
        SANDBOX,
    )
    assert api["order_urls"] == [] and TOKEN not in json.dumps(api)  # no host on which it could cost money
    assert found.data[0].access_token == TOKEN
    renewed = found.renewed("upstox", "new")
    assert renewed.orders.access_token == SANDBOX and renewed.data[0].access_token == "new"


def test_in_mode_sim_the_sandbox_is_a_simulator_of_its_own(started: list[tuple[Any, ...]]) -> None:
    found = open_session(settings(broker="upstox", upstox={"sandbox": True}), lambda line: None)
    assert started == [("upstox", [], True), ("upstox", ["--sandbox"], False)]
    assert found.orders.api_url == "http://127.0.0.1:2" and found.data[0].feed_url == "http://127.0.0.1:1"
    assert found.orders.instruments_url.startswith("http://127.0.0.1:1/")  # the sandbox has no list


NOWHERE = "203.0.113.7"
"""Of TEST-NET-3 (RFC 5737): no machine has it."""


def test_a_source_address_goes_to_everything_that_connects(started: list[tuple[Any, ...]]) -> None:
    found = open_session(settings(kite={"bind_address": "127.0.0.2"}), print)
    assert found.api_config()["bind_address"] == "127.0.0.2" == found.data[0].feed_config()["bind_address"]
    six = open_session(settings(kite={"bind_address": "::"}), print)
    assert not six.orders.bind_address  # the simulator has no IPv6 address


@pytest.mark.parametrize("broker", ["kite", "upstox"])
def test_a_source_address_of_another_machine_refuses_the_start(
    started: list[tuple[Any, ...]], broker: str
) -> None:
    chosen = settings(broker=broker, **{broker: {"bind_address": NOWHERE}})
    with pytest.raises(SessionError, match=rf"{broker}\.bind_address {NOWHERE}: no IPv4 .*ip -brief address"):
        open_session(chosen, print)
    assert not started
    other = "upstox" if broker == "kite" else "kite"
    open_session(settings(broker=other, **{broker: {"bind_address": NOWHERE}}), print)  # not in this run


def test_hosts_of_order_calls_are_data() -> None:
    access = configured(settings(upstox={"hft_url": "https://a.example", "failover": []}), "upstox")
    assert access.order_urls == ("https://a.example",)
    assert configured(settings(), "upstox").order_urls == (
        "https://api-hft.upstox.com",
        "https://api.upstox.com",
    )
    assert configured(settings(), "kite").order_urls == ()
    assert TOKEN not in repr(configured(settings(upstox={"access_token": TOKEN}), "upstox"))


def test_a_new_token_is_for_its_broker() -> None:
    a, b = (Access(name, "f", "a", "k", "old") for name in ("kite", "upstox"))
    found = Session("sim", a, (b,)).renewed("upstox", "new")
    assert (found.orders.access_token, found.data[0].access_token) == ("old", "new")


def test_another_login_is_known_by_key_and_address() -> None:
    a, b = Access("kite", "f", "http://a", "k", "old"), Access("upstox", "f", "http://b", "", "old")
    found = Session("live", a, (a, b))
    assert not found.other_login("kite", "k", "http://a/") and not found.other_login("kite", "", "")
    assert found.other_login("kite", "x", "http://a") and found.other_login("kite", "k", "http://b")
    assert not found.other_login("upstox", "x", "http://b")  # it was not told its own key


def test_the_simulators_command_line_by_broker() -> None:
    words = command(SimulatorSection(), "kite", waits=False)
    options = parser().parse_args(words[3:])
    assert options.broker == "kite" and not options.start_when_subscribed
    assert command(SimulatorSection(), "upstox", ["--plus"])[3:6] == ["--broker", "upstox", "--port"]
    assert "--plus" in command(SimulatorSection(), "upstox", ["--plus"])


# The day's instruments

KITE_CSV = """instrument_token,exchange_token,tradingsymbol,name,last_price,expiry,strike,tick_size,lot_size,\
instrument_type,segment,exchange
738561,2885,RELIANCE,RELIANCE INDUSTRIES,0,,0,0.1,1,EQ,NSE,NSE
779521,3045,SBIN,STATE BANK OF INDIA,0,,0,0.05,1,EQ,NSE,NSE
895745,3499,ONLYHERE,ONLY HERE,0,,0,0.05,1,EQ,NSE,NSE
"""


def upstox_row(symbol: str, isin: str, token: int, tick: float) -> dict[str, Any]:
    return {
        "segment": "NSE_EQ", "name": symbol, "exchange": "NSE", "isin": isin, "instrument_type": "EQ",
        "instrument_key": f"NSE_EQ|{isin}", "lot_size": 1, "freeze_quantity": 100000.0,
        "exchange_token": str(token), "tick_size": tick, "trading_symbol": symbol, "short_name": symbol,
        "security_type": "NORMAL",
    }  # fmt: skip


MASTER = [upstox_row("RELIANCE", "INE002A01018", 2885, 10.0), upstox_row("SBIN", "INE062A01020", 3045, 5.0)]


@pytest.fixture
def lists() -> Iterator[tuple[str, list[bytes]]]:
    """A server with both brokers' lists."""
    asked: list[bytes] = []

    def script(peer: socket.socket) -> None:
        while request := raw_server.read_request(peer):
            asked.append(request)
            csv = b"/instruments?" in request
            peer.sendall(
                raw_server.answer(KITE_CSV.encode() if csv else gzip.compress(json.dumps(MASTER).encode()))
            )

    with raw_server.serve(script) as port:
        yield f"http://127.0.0.1:{port}", asked


def session(url: str, orders: str, *data: str) -> Session:
    def access(name: str) -> Access:
        return Access(name, url, url, "k", "t", instruments_url=f"{url}/complete.json.gz")

    return Session("sim", access(orders), tuple(map(access, data)))


def test_upstoxs_list_alone(lists: tuple[str, list[bytes]]) -> None:
    url, asked = lists
    found = day_instruments(session(url, "upstox", "upstox"), settings(), NOW_NS)
    assert [(row.key, row.token, row.upstox_key) for row in found] == [
        ("NSE:RELIANCE", 738561, "NSE_EQ|INE002A01018"), ("NSE:SBIN", 779521, "NSE_EQ|INE062A01020")
    ]  # fmt: skip
    assert len(asked) == 1 and b"User-Agent: " in asked[0]  # a nameless caller is refused there
    wanted = settings(datafeed={"instruments": ["NSE_EQ|INE062A01020"]})
    assert [r.key for r in day_instruments(session(url, "upstox", "upstox"), wanted, NOW_NS)] == ["NSE:SBIN"]
    with pytest.raises(InstrumentError, match="SBINX"):
        day_instruments(
            session(url, "upstox", "upstox"), settings(datafeed={"instruments": ["NSE:SBINX"]}), NOW_NS
        )


@pytest.mark.parametrize("roles", [("kite", "upstox"), ("upstox", "kite"), ("kite", "kite", "upstox")])
def test_two_brokers_have_one_joined_table_of_what_both_know(
    lists: tuple[str, list[bytes]], roles: tuple[str, ...]
) -> None:
    url, _ = lists
    said: list[str] = []
    found = day_instruments(session(url, *roles), settings(), NOW_NS, said.append)
    assert [(row.slot, row.key, row.upstox_key) for row in found] == [
        (0, "NSE:RELIANCE", "NSE_EQ|INE002A01018"), (1, "NSE:SBIN", "NSE_EQ|INE062A01020")
    ]  # fmt: skip
    assert any("ONLYHERE" in line for line in said)
    with pytest.raises(SessionError, match="not known to both brokers: NSE:ONLYHERE"):
        chosen = settings(datafeed={"instruments": ["NSE:SBIN", "NSE:ONLYHERE"]})
        day_instruments(session(url, *roles), chosen, NOW_NS)


def test_a_list_that_is_refused_is_said() -> None:
    def script(peer: socket.socket) -> None:
        raw_server.read_request(peer)
        peer.sendall(raw_server.answer(b"<html>1010</html>", "403 Forbidden"))

    with (
        raw_server.serve(script) as port,
        pytest.raises(SessionError, match=r"upstox\.instruments_url\) refuses it with HTTP 403; try"),
    ):
        day_instruments(session(f"http://127.0.0.1:{port}", "upstox", "upstox"), settings(), NOW_NS)


@pytest.mark.parametrize(
    ("headers", "body", "words"),
    [
        ([], b'{"error_type": "TokenException"}', "it wants a session: log in, kite-hft login"),
        ([("Authorization", "token k:t")], b"no", "is not taken: log in again, kite-hft login (it says no)"),
        ([], b"<p>\n  1010</p>", "try again later, or check the address (it says <p> 1010</p>)"),
        ([], b"", "(it says nothing)"),
    ],
)
def test_a_list_refused_for_its_token_says_log_in(
    monkeypatch: pytest.MonkeyPatch, headers: list[tuple[str, str]], body: bytes, words: str
) -> None:
    monkeypatch.setattr(master_fetch, "fetch", lambda *_, **__: (403, body))
    with pytest.raises(SessionError) as refused:
        master_fetch._body("Kite's instrument list", "https://x/instruments", "kite.api_url", headers, "")
    assert words in str(refused.value) and "b'" not in str(refused.value)


def test_each_address_for_calls_is_known_by_its_key() -> None:
    words: dict[str, Any] = {
        "access_token": TOKEN,
        "failover": ["https://a.example", "https://api.upstox.com"],
    }
    found = configured(settings(broker="upstox", upstox=words), "upstox")
    assert {url: found.key_of(url) for url in (found.api_url, *found.order_urls)} == {
        "https://api.upstox.com": "upstox.api_url",
        "https://api-hft.upstox.com": "upstox.hft_url",
        "https://a.example": "upstox.failover",
    }
    assert configured(settings(), "kite").key_of("https://api.kite.trade") == "kite.api_url"
