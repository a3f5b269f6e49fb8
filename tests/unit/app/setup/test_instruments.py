"""`kite-hft instruments` on kept lists: what it shows, its JSON, its exit codes."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from master_tools import MONTH, NEXT_MONTH, WEEK, at_upstox, columns, market
from typer.testing import CliRunner

from kite_hft.app.setup import lists_at_hand
from kite_hft.app.setup.instruments import verb
from kite_hft.clock import ManualClock
from kite_hft.engine.plan import masters
from kite_hft.engine.plan.master_cache import Mark, save
from kite_hft.engine.plan.session import SessionError
from kite_hft.sessions import ist_midnight_ns
from kite_hft.units import NS_PER_S

CONFIG = Path(__file__).parents[4] / "config"
TODAY = dt.date(2026, 8, 17)
"""The day on which the market of the tests begins, whatever day it is for the machine."""
NOW_NS = ist_midnight_ns(TODAY) + 10 * 3600 * NS_PER_S


def keep(cache: Path, day: dt.date, lot: int = 65) -> None:
    rows = [replace(row, lot_size=lot) if row.name == "NIFTY" else row for row in market()]
    theirs = [at_upstox(row) for row in rows if not row.is_index]
    for broker, listed in (("kite", rows), ("upstox", theirs)):
        save(
            cache,
            Mark(broker, broker, day.isoformat(), NOW_NS, len(listed), "ab" * 32),
            columns(*listed),
        )


@pytest.fixture
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a configuration and the day's lists; no broker is asked."""

    def unreachable(access: Any) -> bytes:
        raise SessionError("no network in this test")

    monkeypatch.setattr(masters, "fetched", unreachable)
    monkeypatch.setattr(lists_at_hand, "SystemClock", lambda: ManualClock(0, NOW_NS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.chdir(tmp_path)
    for name in ("rules", "calendar"):
        (tmp_path / name).symlink_to(CONFIG / name)
    write(tmp_path, "[NSE:SBIN]")
    keep(tmp_path / "cache", TODAY)
    return tmp_path


def write(home: Path, instruments: str, more: str = "") -> None:
    (home / "config.yaml").write_text(f"mode: paper\ndatafeed: {{instruments: {instruments}}}\n{more}")


def run(*words: str, code: int = 0) -> str:
    result = CliRunner().invoke(verb, list(words))
    assert result.exit_code == code, result.output
    return result.output


def data(*words: str, code: int = 0) -> Any:
    result = CliRunner().invoke(verb, [*words, "--json"])
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.usefixtures("at_home")
def test_find() -> None:
    assert "NSE:SBIN" in run("find", "sbin")
    found = data("find", "nifty", "24000", "ce", "--limit", "2")
    assert found["found"] == 3 and len(found["instruments"]) == 2
    first = found["instruments"][0]
    assert (first["strike"], first["expiry"], first["freeze_quantity"]) == (24_000.0, WEEK, 1800)
    assert "1 more" in run("find", "nifty", "24000", "ce", "--limit", "2")
    assert "contains 'sbjn'" in run("find", "sbjn", code=1)
    assert data("find", "nifty", "--kind", "INDEX")["instruments"][0]["why_not"] == "an index is not traded"


@pytest.mark.usefixtures("at_home")
def test_show_and_the_token_beside_it() -> None:
    text = run("show", "NSE:SBIN", "--token", "3045")
    assert "tradable         yes" in text and "779521" in text
    assert data("show", "779521")["instrument"]["key"] == "NSE:SBIN"
    assert "two instruments" in run("show", "NSE_EQ|3045", "--token", "55785", code=1)
    assert "did you mean NSE:SBIN?" in run("show", "NSE:SBIM", code=1)


@pytest.mark.usefixtures("at_home")
def test_chain() -> None:
    text = run("chain", "NIFTY", "--around", "24010", "--strikes", "1")
    assert "24,000 <" in text and "23,950" in text and "23,900" not in text and MONTH in text
    found = data("chain", "NIFTY", "--expiry", NEXT_MONTH)
    assert found["expiry"] == NEXT_MONTH and len(found["strikes"]) == 5 and found["at_the_money"] is None
    assert "expiry 'soon'" in run("chain", "NIFTY", "--expiry", "soon", code=1)


def test_universe(at_home: Path) -> None:
    file = at_home / "u.yaml"
    file.write_text(
        "instruments: [NSE:GONE]\nrules: [{kinds: [CE], expiry: nearest, strikes: {each_side: 1}}]\n"
    )
    text = run("universe", str(file), "--price", "NIFTY=24010")
    assert (
        "u.yaml: 3 instruments" in text
        and "not in today's list: NSE:GONE" in text
        and "another expiry" in text
    )
    found = data("universe", str(file), "--price", "NIFTY=24010")
    assert found["count"] == 3 and found["left_out"][0]["named"] is True
    assert "no price of the underlying" in run("universe", str(file), code=1)
    assert "write NAME=RUPEES" in run("universe", str(file), "--price", "NIFTY", code=2)
    file.write_text("rulez: []\n")
    assert "did you mean rules?" in run("universe", str(file), code=1)


def test_changes(at_home: Path) -> None:
    keep(at_home / "cache", TODAY - dt.timedelta(1), lot=50)
    assert "lot 50 -> 65 at kite (32 contracts)" in run("changes", "--all")
    assert "none" in run("changes")
    write(at_home, "[NFO:NIFTY26082524000CE]")
    assert "NFO:NIFTY: lot 50 -> 65" in run("changes")
    assert data("changes")["changes"][0]["before"] == "50"


def test_a_quantity_that_is_no_whole_lot_any_more(at_home: Path) -> None:
    strategy = (
        "strategies: [{name: kalman_ml, form: B, instruments: ['NFO:NIFTY26082524000CE'], "
        "params: {quantity: 50}}]"
    )
    write(at_home, "['NFO:NIFTY26082524000CE']", strategy)
    assert "quantity 50 is no multiple of the lot of NFO:NIFTY26082524000CE, 65 today: set 65" in run(
        "changes", code=1
    )
    assert "is no multiple" in data("changes", code=1)["odd_quantity"]


def test_lists_that_cannot_be_had(at_home: Path) -> None:
    assert "ready" in run("refresh", "--keep")
    assert "no network in this test" in run("refresh", code=3)
    for path in (at_home / "cache/kite_hft/masters").iterdir():
        path.unlink()
    assert "no network in this test" in run("find", "sbin", code=3)


def test_a_configuration_that_cannot_be_used(at_home: Path) -> None:
    (at_home / "config.yaml").write_text("modee: paper\n")
    assert "did you mean" in run("find", "sbin", code=2)
    (at_home / "config.yaml").write_text("datafeed: {universe: u.yaml, instruments: [NSE:SBIN]}\n")
    assert "both say what is traded" in run("find", "sbin", code=2)
