"""The day's lists: kept for the day, fetched when they are not the day's, refused when they are no good."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from master_tools import DAY, MONTH, at_upstox, market, numbered, share

from kite_hft.engine.plan import masters as subject
from kite_hft.engine.plan.master import day_instruments
from kite_hft.engine.plan.master_cache import MasterError, load, path_of
from kite_hft.engine.plan.masters import (
    accesses_of,
    cached_masters,
    is_current,
    kept,
    load_masters,
    repeated,
    source_of,
    states,
)
from kite_hft.engine.plan.session import Access, Session, SessionError, configured
from kite_hft.settings import Settings
from kite_hft.trading.instruments import CSV_COLUMNS, Instrument, InstrumentError, csv_row

RULES = Path(__file__).parents[4] / "config/rules"


def at(clock: str, day: dt.date = DAY) -> int:
    """Epoch ns of a time in India."""
    moment = dt.datetime.combine(
        day, dt.time.fromisoformat(clock), dt.timezone(dt.timedelta(hours=5, minutes=30))
    )
    return int(moment.timestamp()) * 10**9


NOON = at("12:00")


class Places:
    """rules: the brokers' own, but for the least size of a list: those of these tests are small."""

    rules = RULES


@pytest.fixture(autouse=True)
def small_lists(tmp_path_factory: pytest.TempPathFactory) -> None:
    Places.rules = tmp_path_factory.mktemp("rules")
    for name in ("kite_2026-04-01.yaml", "upstox_2026-04-01.yaml"):
        lines = (RULES / name).read_text().splitlines(keepends=True)
        (Places.rules / name).write_text("".join(line for line in lines if "list_least" not in line))


def settings(rules: Path | None = None, **sections: Any) -> Settings:
    made = Settings.model_validate(sections)
    name = made.trading.rules.name
    files = {"indices": RULES / made.trading.indices.name, "rules": (rules or Places.rules) / name}
    return made.model_copy(update={"trading": made.trading.model_copy(update=files)})


def dump(rows: list[Instrument]) -> bytes:
    import csv

    out = io.StringIO(newline="")
    csv.writer(out).writerows([CSV_COLUMNS, *(csv_row(row)[: len(CSV_COLUMNS)] for row in numbered(*rows))])
    return out.getvalue().encode()


def master(rows: list[Instrument]) -> bytes:
    """Upstox's file about the same shares and contracts."""
    made = []
    for row in map(at_upstox, rows):
        words: dict[str, Any] = {
            "segment": row.upstox_key.partition("|")[0], "instrument_key": row.upstox_key, "name": row.name,
            "exchange_token": str(row.exchange_token), "trading_symbol": row.symbol,
            "instrument_type": row.kind,
            "lot_size": row.lot_size, "tick_size": float(row.tick_px), "freeze_quantity": 1800.0,
            "qty_multiplier": 1.0,
        }  # fmt: skip
        if row.expiry:
            words["expiry"] = at("23:59", dt.date.fromisoformat(row.expiry)) // 10**6
            words["underlying_symbol"], words["strike_price"] = row.name, row.strike_px / 100
        made.append(words)
    return json.dumps(made).encode()


class Brokers:
    """What the brokers send, and how often they were asked."""

    def __init__(self, rows: list[Instrument]) -> None:
        self.bodies: dict[str, bytes | Exception] = {
            "kite": dump(rows), "upstox": master([row for row in rows if not row.is_index])
        }  # fmt: skip
        self.asked: list[str] = []

    def __call__(self, access: Access) -> bytes:
        self.asked.append(access.broker)
        body = self.bodies[access.broker]
        if isinstance(body, Exception):
            raise body
        return body


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    found = Brokers(market())
    monkeypatch.setattr(subject, "fetched", found)
    return found


def loaded(cache: Path | None, now_ns: int = NOON, say: Callable[[str], None] = print, **words: Any) -> Any:
    chosen = settings()
    return load_masters(chosen, accesses_of(chosen), now_ns, cache, say, **words)


def test_lists_are_fetched_once_a_day(brokers: Brokers, tmp_path: Path) -> None:
    first = loaded(tmp_path)
    assert brokers.asked == ["kite", "upstox"], "Upstox's for freeze quantities: Kite's has none"
    row = first.instrument("NFO:NIFTY26082524000CE")
    assert (row.freeze_quantity, row.multiplier) == (1800, 1)
    assert loaded(tmp_path, at("15:00")).instrument(row.token) == row and len(brokers.asked) == 2
    loaded(tmp_path, renew=True)
    assert len(brokers.asked) == 4
    loaded(tmp_path, at("12:00", DAY + dt.timedelta(1)))
    assert len(brokers.asked) == 6, "another day"
    mark, _ = load(path_of(tmp_path, "kite", DAY))
    assert (mark.broker, mark.rows, mark.day) == ("kite", 36, "2026-08-17")
    assert cached_masters(settings(), NOON, tmp_path).instrument(row.token) == row


def test_a_list_from_before_the_broker_made_the_days_counts_until_then(
    brokers: Brokers, tmp_path: Path
) -> None:
    loaded(tmp_path, at("07:00"))
    loaded(tmp_path, at("08:29"))
    assert brokers.asked == ["kite", "upstox"]
    said: list[str] = []
    with pytest.raises(MasterError, match="fetched before the broker made the day's"):
        cached_masters(settings(), at("08:31"), tmp_path)
    loaded(tmp_path, at("08:31"), said.append)
    assert brokers.asked == ["kite", "upstox", "kite"], "Upstox makes its list at 06:00"
    assert "Kite's instrument list was fetched before the broker made the day's" in said[0]
    access = configured(settings(), "kite")
    assert is_current(kept(access, at("09:00"), tmp_path)[0], at("09:00"))
    assert not is_current(kept(access, at("09:00"), tmp_path)[0], at("08:30")), "a clock that went back"


def test_a_damaged_list_is_fetched_again_and_never_used(brokers: Brokers, tmp_path: Path) -> None:
    loaded(tmp_path)
    path = path_of(tmp_path, "kite", DAY)
    path.write_bytes(path.read_bytes()[:-9])
    said: list[str] = []
    loaded(tmp_path, say=said.append)
    assert brokers.asked[2:] == ["kite"] and "damaged" in said[0] and "it is fetched again" in said[0]
    path.write_bytes(b"")
    brokers.bodies["kite"] = SessionError("no network")
    with pytest.raises(SessionError, match="no network"):
        loaded(tmp_path)
    with pytest.raises(MasterError, match="half-written"):
        cached_masters(settings(), NOON, tmp_path)


def test_yesterdays_list_is_never_taken_instead(brokers: Brokers, tmp_path: Path) -> None:
    loaded(tmp_path)
    brokers.bodies["kite"] = SessionError("no network")
    with pytest.raises(SessionError, match="no network"):
        loaded(tmp_path, at("12:00", DAY + dt.timedelta(1)))


def test_an_old_list_is_refused_and_cannot_be_accepted(brokers: Brokers, tmp_path: Path) -> None:
    day = dt.date.fromisoformat(MONTH) + dt.timedelta(1)
    for accept in (False, True):
        with pytest.raises(
            MasterError, match=r"Kite's instrument list is refused: .* are over, .* an earlier day"
        ):
            loaded(tmp_path, at("12:00", day), accept=accept)
    assert not path_of(tmp_path, "kite", day).exists()


def test_a_list_that_shrank_is_accepted_by_name_alone(brokers: Brokers, tmp_path: Path) -> None:
    many = [share(f"S{n}", n + 1) for n in range(100)]
    brokers.bodies = {"kite": dump(many), "upstox": master(many)}
    loaded(tmp_path)
    brokers.bodies = {"kite": dump(many[:79]), "upstox": master(many)}
    noon, said = at("12:00", DAY + dt.timedelta(1)), list[str]()
    with pytest.raises(MasterError, match="NSE: 79 instruments, and 100 of the list before still live"):
        loaded(tmp_path, noon)
    assert len(loaded(tmp_path, noon, said.append, accept=True).rows) == 79
    assert "accepted: NSE: 79 instruments" in said[0] and "the same to the last byte" in said[1]
    assert load(path_of(tmp_path, "kite", DAY + dt.timedelta(1)))[0].accepted


def test_upstoxs_list_may_fail_where_only_its_freeze_quantities_are_wanted(
    brokers: Brokers, tmp_path: Path
) -> None:
    brokers.bodies["upstox"] = SessionError("no network")
    said: list[str] = []
    found = loaded(tmp_path, say=said.append)
    assert list(found.lists) == ["kite"] and "futures and options are not tradable" in said[0]
    chosen = settings(data_broker="both")
    with pytest.raises(SessionError, match="no network"):
        load_masters(chosen, accesses_of(chosen), NOON, tmp_path)


def test_nothing_is_kept_without_a_cache(brokers: Brokers, tmp_path: Path) -> None:
    loaded(None)
    loaded(None)
    assert len(brokers.asked) == 4 and not list(tmp_path.iterdir())


def test_a_list_of_another_server_has_another_name() -> None:
    local = settings(kite={"api_url": "http://127.0.0.1:8080"})
    assert source_of(configured(local, "kite")) == "kite@127.0.0.1-8080"
    assert [source_of(access) for access in accesses_of(settings())] == ["kite", "upstox"]
    assert [access.broker for access in accesses_of(local)] == ["kite"], "nobody outside is asked"
    assert [access.broker for access in accesses_of(settings(broker="upstox"))] == ["upstox"]


def test_states_say_what_is_at_hand(brokers: Brokers, tmp_path: Path) -> None:
    assert all("no such list" in row.problem for row in states(settings(), NOON, tmp_path))
    loaded(tmp_path, at("08:00"))
    kite, upstox = states(settings(), NOON, tmp_path)
    assert "before the broker made" in kite.problem and upstox.problem == ""
    assert upstox.mark is not None and upstox.mark.rows == 35


def test_a_list_that_is_yesterdays_to_the_last_byte_is_named(brokers: Brokers, tmp_path: Path) -> None:
    tomorrow = at("12:00", DAY + dt.timedelta(1))
    loaded(tmp_path)
    assert repeated(settings(), NOON, tmp_path) == [], "there is nothing to compare with"
    brokers.bodies["upstox"] = bytes(brokers.bodies["upstox"]) + b" "  # type: ignore[arg-type]
    loaded(tmp_path, tomorrow)
    assert repeated(settings(), tomorrow, tmp_path) == [
        "Kite's instrument list is the same to the last byte as that of 2026-08-17"
    ]


# What a run takes


def run(cache: Path, monkeypatch: pytest.MonkeyPatch, **feed: Any) -> tuple[Any, list[str]]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    chosen, said = settings(mode="paper", datafeed=feed), list[str]()
    access = configured(chosen, "kite")
    return day_instruments(Session("paper", access, (access,)), chosen, NOON, said.append), said


def test_a_run_takes_kept_lists_and_trades_what_is_named(
    brokers: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["NSE:SBIN", "NSE_FO|40001"]
    for _ in range(2):
        found, _said = run(tmp_path, monkeypatch, instruments=names)
        assert [(row.slot, row.key, row.freeze_quantity) for row in found] == [
            (0, "NSE:SBIN", 1800), (1, "NFO:NIFTY26081823900CE", 1800)
        ]  # fmt: skip
    assert brokers.asked == ["kite", "upstox"]
    with pytest.raises(InstrumentError, match=r"did you mean NSE:SBIN\?"):
        run(tmp_path, monkeypatch, instruments=["NSE:SBINX"])


def test_a_run_trades_a_universe(brokers: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "u.yaml"
    file.write_text(
        "rules:\n- {kinds: [CE, PE], expiry: nearest, strikes: {around: {NIFTY: 24010}, each_side: 1}}\n"
        "- {exchanges: [NSE], kinds: [INDEX]}\ninstruments: [NSE:GONE]\n"
    )
    found, said = run(tmp_path, monkeypatch, universe=file)
    assert [row.key for row in found][-1] == "NSE:NIFTY 50" and len(found) == 7
    assert {row.strike_px for row in found if row.kind != "EQ"} == {2_395_000, 2_400_000, 2_405_000}
    assert any("not in today's list: NSE:GONE" in line for line in said)


def test_all_of_a_whole_list_is_refused(
    brokers: Brokers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from kite_hft.engine.plan import master as run_master

    assert len(run(tmp_path, monkeypatch)[0]) == 36
    monkeypatch.setattr(run_master, "WHOLE_MAX", 10)
    with pytest.raises(InstrumentError, match=r"the list has 36 instruments: .* datafeed\.universe"):
        run(tmp_path, monkeypatch)


def test_a_first_list_that_was_cut_at_a_row_is_refused_and_accepted_by_name_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no list of yesterday: what a whole one has at least stands in the broker's rules."""
    monkeypatch.setattr(subject, "fetched", lambda access: dump(market()))
    made = settings(RULES)
    (kite,) = [access for access in accesses_of(made) if access.broker == "kite"]
    with pytest.raises(
        MasterError, match=r"NSE: 3 instruments, and a whole list has at least 4,000.*--accept"
    ):
        load_masters(made, [kite], NOON, tmp_path)
    said: list[str] = []
    load_masters(made, [kite], NOON, tmp_path, said.append, accept=True)
    assert any("accepted: NSE: 3 instruments" in text for text in said)
