"""A universe file read, and what it asks for: prices of a broker, market capitalisations of a table."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import raw_server
from master_tools import DAY, at_upstox, columns, market

from kite_hft.engine.plan import universes
from kite_hft.engine.plan.session import Access
from kite_hft.engine.plan.universes import choose, last_prices_of, read_universe, wanted_prices
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.masters import Masters

OPTIONS = "rules: [{kinds: [CE], expiry: nearest, strikes: {each_side: 0}}]\n"
FUTURE = "NFO:NIFTY260825FUT"


def masters() -> Masters:
    return Masters(DAY, {"kite": columns(*(row if row.is_index else at_upstox(row) for row in market()))}, {})


def access(url: str, broker: str = "kite", token: str = "t") -> Access:
    return Access(broker, url, url, "k", token)


@pytest.fixture
def quotes() -> Iterator[tuple[str, list[bytes], dict[str, bytes]]]:
    """A broker that tells prices: (its address, what it was asked, what it answers)."""
    asked: list[bytes] = []
    answer = {"body": b'{"status":"success","data":{}}', "status": b"200 OK"}

    def script(peer: socket.socket) -> None:
        while request := raw_server.read_request(peer):
            asked.append(request)
            peer.sendall(raw_server.answer(answer["body"], answer["status"].decode()))

    with raw_server.serve(script) as port:
        yield f"http://127.0.0.1:{port}", asked, answer


def told(**prices: float) -> bytes:
    return json.dumps(
        {"status": "success", "data": {k.replace("_", ":", 1): {"last_price": v} for k, v in prices.items()}}
    ).encode()


def picked(
    tmp_path: Path, text: str, who: Access | None = None, said: list[str] | None = None, **words: float
) -> list[str]:
    file = tmp_path / "u.yaml"
    file.write_text(text)
    of, lines = masters(), [] if said is None else said
    found = choose(file, of, who, lines.append, tmp_path / "market_cap.csv", words)
    return [of.rows.key(row) for row in found.rows]


def test_the_price_of_an_underlying_is_its_nearest_futures(
    tmp_path: Path, quotes: tuple[str, list[bytes], dict[str, bytes]]
) -> None:
    url, asked, answer = quotes
    answer["body"] = told(**{FUTURE.replace(":", "_"): 24_060.0})
    assert picked(tmp_path, OPTIONS, access(url)) == ["NFO:NIFTY26081824050CE"]
    assert asked[0].startswith(f"GET /quote/ltp?i={FUTURE} ".encode()) and len(asked) == 1
    assert picked(tmp_path, OPTIONS, access(url), NIFTY=23_900.0) == ["NFO:NIFTY26081823900CE"]
    assert len(asked) == 1, "what is told by hand is not asked for"


def test_a_broker_that_tells_no_price(
    tmp_path: Path, quotes: tuple[str, list[bytes], dict[str, bytes]]
) -> None:
    url, _asked, answer = quotes
    answer["status"], answer["body"] = b"403 Forbidden", b"no"
    said: list[str] = []
    with pytest.raises(InstrumentError, match="no price of the underlying is known"):
        picked(tmp_path, OPTIONS, access(url), said)
    assert "kite tells no prices: HTTP 403" in said[0]
    for who in (None, access(url, token="")):
        with pytest.raises(InstrumentError, match="no price"):
            picked(tmp_path, OPTIONS, who, said)
    assert "no access token" in said[-1]


def test_calls_have_a_pause_between_them(
    monkeypatch: pytest.MonkeyPatch, quotes: tuple[str, list[bytes], dict[str, bytes]]
) -> None:
    url, asked, answer = quotes
    pauses: list[float] = []
    monkeypatch.setattr(universes.time, "sleep", pauses.append)
    kit = universes.last_prices("kite")
    monkeypatch.setattr(universes, "last_prices", lambda name: kit._replace(keys_max=1))
    answer["body"] = told(NFO_NIFTY260825FUT=24_000.0, NFO_SBIN260825FUT=800.0)
    found = last_prices_of(
        [("NFO", "NIFTY"), ("NFO", "SBIN"), ("NFO", "NOBODY")], masters(), access(url), print
    )
    assert found == {("NFO", "NIFTY"): 24_000.0, ("NFO", "SBIN"): 800.0}
    assert len(asked) == 2 and pauses == [universes.PAUSE_S]


def test_what_is_asked_for() -> None:
    of = masters()

    def wanted(rules: str, *known: str) -> list[tuple[str, str]]:
        from kite_hft.trading.lists.universe_file import parse_universe

        return wanted_prices(parse_universe(json.loads(rules), "u", lambda name: []), of, known)

    near = '{"rules": [{"kinds": ["CE"], "strikes": {"percent": 1}}]}'
    assert wanted(near) == [("NFO", "NIFTY")] and wanted(near, "NIFTY") == []
    assert wanted('{"rules": [{"kinds": ["CE"], "strikes": {"from": 1}}]}') == []
    assert wanted('{"rules": [{"underlyings": ["SBIN"], "strikes": {"percent": 1}}]}') == []
    assert wanted('{"rules": [{"exchanges": ["BFO"], "strikes": {"percent": 1}}]}') == []


def test_lists_lie_beside_the_universe(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("Symbol,Series\nSBIN,EQ\n")
    (tmp_path / "other.yaml").write_text("[NSE:RELIANCE]")
    assert picked(tmp_path, "lists: [mine.csv, other.yaml]") == ["NSE:SBIN", "NSE:RELIANCE"]
    assert read_universe(tmp_path / "mine.csv")[0].names == ({"symbol": "NSE:SBIN"},)
    with pytest.raises(InstrumentError, match=r"gone.csv: cannot be read"):
        picked(tmp_path, "lists: [gone.csv]")
    (tmp_path / "odd.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(InstrumentError, match="no text in UTF-8"):
        picked(tmp_path, "lists: [odd.csv]")
    (tmp_path / "deep.yaml").write_text("lists: [mine.csv]")
    with pytest.raises(InstrumentError, match="name both in the universe"):
        picked(tmp_path, "lists: [deep.yaml]")


def test_market_capitalisations(tmp_path: Path) -> None:
    rule = "rules: [{exchanges: [NSE], market_cap: {from: 5000, to: 100000}}]\n"
    with pytest.raises(
        InstrumentError, match=r"market_cap.csv: no table .* `kite-hft metadata --caps .*market_caps: FILE"
    ):
        picked(tmp_path, rule)
    said: list[str] = []
    table = tmp_path / "market_cap.csv"
    table.write_text("symbol,market_cap_crore,as_of\nSBIN,700000,2026-08-14\nRELIANCE,6000,2026-08-14\n")
    assert picked(tmp_path, rule, None, said) == ["NSE:RELIANCE"] and said == []
    table.write_text("symbol,market_cap_crore,as_of\nSBIN,6000,2026-08-01\n")
    assert picked(tmp_path, rule, None, said) == ["NSE:SBIN"] and "are 16 days old: refresh them" in said[0]
    table.rename(tmp_path / "mine.csv")
    assert picked(tmp_path, rule + "market_caps: mine.csv\n") == ["NSE:SBIN"]
    (tmp_path / "mine.csv").write_text("symbol\nSBIN\n")
    with pytest.raises(InstrumentError, match=r"market capitalisations: .*no column"):
        picked(tmp_path, rule + "market_caps: mine.csv\n")
    with pytest.raises(InstrumentError, match="market_caps: 5 is no file"):
        picked(tmp_path, rule + "market_caps: 5\n")
