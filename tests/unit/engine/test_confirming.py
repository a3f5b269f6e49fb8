"""Mode live: whose addresses, which day, what is shown, and the account's name."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import pytest

from kite_hft import builds
from kite_hft.engine.confirming import (
    NotConfirmed,
    build_words,
    check_live,
    check_word,
    confirmation,
    first_lines,
    is_rehearsal,
    own_hosts,
    require_live,
    typed_line,
)
from kite_hft.engine.orders.settings import limits_of
from kite_hft.engine.plan.session import SessionError
from kite_hft.sessions import ist_midnight_ns
from kite_hft.settings import Settings, SettingsError, load_settings
from kite_hft.trading.instruments import Instrument, InstrumentTable

NOW = 1_795_000_000 * 10**9
LOCAL = {"ws_url": "ws://127.0.0.1:1", "api_url": "http://localhost:2"}
ROWS = InstrumentTable(
    (
        Instrument(0, 256, 1, "INFY", "NSE", "NSE", "EQ", 5, 1),
        Instrument(1, 512 + 9, 2, "NIFTY 50", "NSE", "INDICES", "EQ", 5, 0),
    )
)


def live(**sections: Any) -> Settings:
    made = {"mode": "live", "account": "AB1234", "risk": {"max_daily_loss": 5000}} | sections
    return Settings.model_validate(made)


def in_folder(tmp_path: Path, **sections: Any) -> Settings:
    """The same with the project's rules."""
    (tmp_path / "c.yaml").write_text("{}")
    dated = load_settings(Path("config/demo.yaml")).trading
    return live(**sections).model_copy(update={"trading": dated.model_copy(update={"date": None})})


def test_old_compiled_modules_are_told_and_refused_with_real_money(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "stale", lambda package, folder: [])
    assert build_words(live()) == []
    monkeypatch.setattr(builds, "stale", lambda package, folder: ["_ring is older than ring.h"])
    rehearsal = live(kite=LOCAL)
    for settings in (rehearsal, Settings()):
        assert "_ring is older than ring.h; make build" in build_words(settings)[0]
    with pytest.raises(SessionError, match=r"mode live: .*ring\.h; make build"):
        build_words(live())


def test_the_brokers_own_addresses_are_the_defaults_and_encrypted() -> None:
    check_live(live(), NOW)
    check_live(live(broker="upstox", data_broker="both"), NOW)
    assert own_hosts("kite") == {"ws.kite.trade", "api.kite.trade"}
    assert "api-hft.upstox.com" in own_hosts("upstox")


@pytest.mark.parametrize(
    "kite",
    [
        {"api_url": "https://api.kite.trade.example.org"},
        {"api_url": "https://example.org"},
        {"api_url": "https://api.kite.trade:8443"},
        {"api_url": LOCAL["api_url"]},  # half of a rehearsal
        {"ws_url": LOCAL["ws_url"]},
    ],
)
def test_any_other_address_is_refused_and_named(kite: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match="own hosts only") as caught:
        check_live(live(kite=kite), NOW)
    assert next(iter(kite.values())) in str(caught.value)


def test_the_addresses_of_the_data_broker_count_too() -> None:
    with pytest.raises(SettingsError, match=r"upstox: https://example\.org"):
        check_live(live(data_broker="upstox", upstox={"failover": ["https://example.org"]}), NOW)


def test_a_rehearsal_is_all_on_this_machine_and_says_so() -> None:
    rehearsal = live(kite=LOCAL, account="DEMO", trading={"date": "2026-08-03", "watchdog": False})
    assert (
        is_rehearsal(rehearsal)
        and not is_rehearsal(live())
        and not is_rehearsal(live(kite={"ws_url": LOCAL["ws_url"]}))
    )
    check_live(rehearsal, NOW)
    assert (
        first_lines(rehearsal)[0].startswith("REHEARSAL OF MODE LIVE")
        and "127.0.0.1:1" in first_lines(rehearsal)[0]
    )
    assert "real money" in first_lines(live())[0] and first_lines(Settings()) == []


@pytest.mark.parametrize(
    ("sections", "words"),
    [
        ({"account": "DEMO"}, "account: DEMO is nobody's"),
        ({"trading": {"date": "2026-08-03"}}, "trading.date: mode live trades today"),
        ({"trading": {"watchdog": False}}, "trading.watchdog"),
    ],
)
def test_what_else_it_asks_for(sections: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        check_live(live(**sections), NOW)
    check_live(Settings.model_validate(sections), NOW)  # of mode live alone


def test_today_may_be_written_down() -> None:
    check_live(live(trading={"date": "2026-08-03"}), ist_midnight_ns(dt.date(2026, 8, 3)))


def test_the_word_on_the_command_line() -> None:
    check_word(live(), None)
    check_word(live(), "AB1234")
    with pytest.raises(NotConfirmed, match="--live names 'ab1234'"):
        check_word(live(), "ab1234")
    with pytest.raises(NotConfirmed, match="says mode paper"):
        check_word(Settings(mode="paper"), "DEMO")


def test_what_is_shown(tmp_path: Path) -> None:
    settings = in_folder(
        tmp_path, strategies=[{"name": "kalman_simple"}], risk={"capital": 100_000, "max_positions": 7}
    )
    text = "\n".join(confirmation(settings, limits_of(settings, "kite"), ROWS))
    for word in ("kite (ws.kite.trade, api.kite.trade), prices from kite", "AB1234", "kalman_simple (form A)",
                 "1: NSE:INFY", "7 of them", "at most 10,000.00 rupees, 7", "5,000.00 rupees net",
                 "then reduce", "10,000.00 rupees from the best", "380 in 60 s",
                 "kite_2026-04-01.yaml"):  # fmt: skip
        assert word in text, word
    assert "NIFTY" not in text


def test_only_the_account_itself_confirms() -> None:
    shown: list[str] = []
    asked: list[str] = []

    def typed(text: str | None) -> Any:
        return lambda line: asked.append(line) or text

    said = require_live(live(), ["a", "b"], None, shown.append, typed("AB1234"))
    assert said == "confirmed at the terminal"
    assert shown == ["a", "b"] and "AB1234" in asked[0]
    assert require_live(live(), [], "AB1234", shown.append, typed(None)) == "confirmed by --live"
    with pytest.raises(NotConfirmed, match="--live AB1234"):
        require_live(live(), [], "", shown.append, typed("AB1234"))  # its input is not a person's
    assert require_live(Settings(), ["c"], None, shown.append, typed(None)) == "" and "c" not in shown
    for wrong in ("ab1234", "AB12345", "yes", ""):
        with pytest.raises(NotConfirmed, match="nothing trades"):
            require_live(live(), [], None, shown.append, typed(wrong))
    with pytest.raises(NotConfirmed, match="--live AB1234"):
        require_live(live(), [], None, shown.append, typed(None))


@pytest.mark.parametrize(
    ("data", "expected"), [(b"AB1234\nrest", "AB1234"), (b" AB1234 \n", "AB1234"), (b"", None), (b"\n", None)]
)
def test_one_line_is_read_and_nothing_behind_it(data: bytes, expected: str | None) -> None:
    read, write = os.pipe()
    said: list[str] = []
    try:
        os.write(write, data)
        os.close(write)
        assert typed_line(said.append, read)("Type: ") == expected and said == ["Type: "]
        assert os.read(read, 10) == data.partition(b"\n")[2]
    finally:
        os.close(read)


def test_nobody_is_waited_for_longer_than_that() -> None:
    read, write = os.pipe()
    assert typed_line(lambda text: None, read, 0.01)("Type: ") is None
    os.close(read)
    os.close(write)
