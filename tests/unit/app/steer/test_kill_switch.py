"""`kite-hft kill-switch`: what is meant to be changed, and what becomes of today's token."""

from __future__ import annotations

from pathlib import Path

import pytest
from upstox_bench import ELEVEN, Bench

from kite_hft.app.day.asking import NoAnswer
from kite_hft.app.keys.opened import Opened
from kite_hft.app.steer.kill_switch import Seen, after, chosen, confirm, plan
from kite_hft.app.steer.switching import SHOWN, Verdict
from kite_hft.brokers.upstox.kill_switch import SEGMENTS, Segment
from kite_hft.brokers.upstox.left_open import LeftOpen
from kite_hft.engine.keys import vault
from kite_hft.engine.plan.session import Access
from kite_hft.engine.runs.runs import Account, NoRun
from kite_hft.settings import SettingsError
from kite_hft.trading.broker import HttpRequest, HttpResponse

PASSWORD = b"correct horse battery"
STATES = {
    "NSE_EQ": Segment(active=True, shut=False),
    "NSE_FO": Segment(active=False, shut=True),
    "MCX_FO": Segment(active=False, shut=False),  # never opened for this account
    "NEW_EQ": Segment(active=True, shut=False),  # no segment that this program can name
}


def seen(held: LeftOpen | None = None) -> Seen:
    return Seen("AB1234", "A Person", dict(STATES), held, "" if held else "timed out")


def test_what_is_meant() -> None:
    assert chosen(seen(), False, []) == {"NSE_EQ": True}
    assert chosen(seen(), True, []) == {"NSE_FO": False}
    assert chosen(seen(), False, [" mcx_fo", "NSE_FO"]) == {"MCX_FO": True}
    assert chosen(seen(), False, ["BSE_EQ"]) == {"BSE_EQ": True}, "not told of, so it is asked for"
    assert chosen(seen(), True, ["NSE_EQ"]) == {}
    with pytest.raises(SettingsError, match="NSE, NSF: segments are NSE_EQ"):
        chosen(seen(), False, ["NSF", "NSE_EQ", "NSE"])
    assert "NEW_EQ" not in SEGMENTS


def test_the_plan_names_what_stays(capsys: pytest.CaptureFixture[str]) -> None:
    held = LeftOpen((("NSE_EQ", "SBIN +5"), ("NSE_FO", "NIFTY -75")), ("NSE_EQ", "NSE_FO"), ("GTT-1",))
    found = seen(held)
    found.wanted = {"NSE_EQ": True}
    plan(found, False, [Account("upstox", "AB1234", Path(), None, 7)], ["kite-XY"])
    said = capsys.readouterr().out
    for words in (
        "stops all trading of the account at Upstox in NSE_EQ:", "nobody can take it back for twelve hours",
        "cancelled by Upstox: 1 now", "GTTs that wait stay listed: 1 now", "open there: SBIN +5",
        "in other segments, without an engine that watches them: NIFTY -75", "today's token ends",
        "an engine is starting on upstox-AB1234: it is killed first", "kite-XY reads with today's token",
    ):  # fmt: skip
        assert words in said, (words, said)
    found = seen()
    found.wanted = {"NSE_EQ": True}
    plan(found, False, [], [])
    assert "what is open cannot be read (timed out)" in capsys.readouterr().out


def test_the_account_is_named_exactly() -> None:
    confirm("AB1234", "AB1234")
    for given in ("ab1234", "AB1234 ", "upstox-AB1234", "y"):
        with pytest.raises(NoRun, match="nothing was changed"):
            confirm("AB1234", given)


class Caller:
    """Asks the simulated broker, or nobody."""

    access = Access("upstox", "", "http://127.0.0.1:1", "key", "token")

    def __init__(self, bench: Bench | None) -> None:
        self.bench = bench

    def call(self, request: HttpRequest) -> HttpResponse:
        if self.bench is None:
            raise NoAnswer("nothing answers")
        headers = {"authorization": "Bearer token"}
        found = self.bench.api.handle(
            request.method, request.path, [], headers, request.body, self.bench.now, "127.0.0.1"
        )
        return HttpResponse(found.status, found.body)

    def words(self, text: str) -> str:
        return text


def test_a_token_that_the_switch_does_not_bind_is_ended(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "x.vault"
    values = {"access_token": "token", "access_token_until": "unknown", "api_key": "key"}
    vault.create(path, PASSWORD, {"upstox/default": values}, "pbkdf2")
    held = Opened(path, "upstox", "default", vault.read(path, PASSWORD), PASSWORD)
    alive = Verdict(SHOWN, "", {}, True)
    why = after(Caller(None), held, alive)
    assert "may still trade" in why and "kite-hft logout" in why
    assert vault.read(path, PASSWORD)["upstox/default"] == values
    bench = Bench(ELEVEN)
    assert after(Caller(bench), held, alive) == ""
    assert bench.code("GET", "/v2/user/profile") == (401, "UDAPI100050")
    assert vault.read(path, PASSWORD)["upstox/default"] == {"api_key": "key"}
