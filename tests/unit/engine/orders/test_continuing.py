"""Which earlier runs of a day a new run goes on from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from orders_world import REAL0, RULES, World, filled, instrument, instruments

from kite_hft.engine.orders.continuing import (
    Earlier,
    broker_name,
    chain_of,
    day_net_paise,
    day_records,
    day_so_far,
    find_earlier,
)
from kite_hft.engine.orders.process import earlier_of
from kite_hft.engine.orders.settings import charges_of_day
from kite_hft.layout import Product, Side
from kite_hft.memory.journal import Header, JournalError, Kind, Record, scan
from kite_hft.memory.journal_writer import JournalWriter
from kite_hft.settings import Settings
from kite_hft.trading.book import Book
from kite_hft.trading.day_so_far import DaySoFar, packed
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.instruments import InstrumentTable
from kite_hft.trading.recovery.replay import replay

BROKER = broker_name("live", "https://api.kite.trade", "x", own=False)


def run(
    day: Path, name: str, records: list[Record], /, *, config: int = 7, rules: int = 0, **start: Any
) -> Path:
    """A run folder whose journal holds `records` behind a START of its own."""
    folder = day / name
    folder.mkdir(parents=True)
    with (folder / "journal.bin").open("wb", buffering=0) as file:
        writer = JournalWriter(file.fileno(), header=Header(1, config, int(name), rules))
        data = {"broker": BROKER, "restarted": False, "continues": []} | start
        writer.append(Kind.START, 1, json.dumps(data).encode())
        for record in records:
            if record.kind is not Kind.START:
                writer.append(record.kind, record.time_ns, record.payload)
                writer.sync()
    return folder


def trading(*, end: bool = False) -> list[Record]:
    """An order that is filled; with `end`, the orderly end of the run, which leaves that position."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    if end:
        world.stage.close()
    return world.journal.records


def find(folder: Path, config: int = 7, broker: str = BROKER) -> Earlier:
    return find_earlier(folder, config, broker, instruments())


def test_a_run_that_was_killed_is_continued_and_so_on_through_the_day(tmp_path: Path) -> None:
    first = run(tmp_path, "100", trading())
    found = find(tmp_path / "200")
    assert found.names == ("100",) and found.next_seqs() == {1: 2}
    second = run(tmp_path, "200", [], continues=["100"])
    found = find(tmp_path / "300")
    assert found.folders == (first, second) and len(found.records) > 5
    assert chain_of(second) == (first,) and day_records(second) == found.records


def test_an_orderly_end_is_continued_only_when_something_is_open(tmp_path: Path) -> None:
    run(tmp_path, "100", trading())
    world = World().start()
    world.stage.close()
    run(tmp_path, "200", world.journal.records)
    assert find(tmp_path / "300") == Earlier()
    run(tmp_path, "300", trading(end=True))
    assert find(tmp_path / "400").names == ("300",)


def test_another_configuration_or_other_instruments_are_refused_in_words(tmp_path: Path) -> None:
    run(tmp_path, "100", trading())
    assert "another configuration" in find(tmp_path / "200", config=8).refused
    row = next(r for r in trading() if r.kind is Kind.INTENT)
    other = Record(1, Kind.INTENT, 1, json.dumps(row.data() | {"token": 5}).encode())
    run(tmp_path, "150", [other])
    assert "does not fit" in find(tmp_path / "200").refused


def test_a_journal_of_another_build_or_other_rules_is_not_gone_on_with(tmp_path: Path) -> None:
    run(tmp_path, "100", trading(), rules=5)

    def found(build: int = 0, rules: int = 0) -> Earlier:
        return find_earlier(tmp_path / "200", 7, BROKER, instruments(), build=build, rules_hash=rules)

    assert found(1, 5).names == found().names == ("100",)
    assert "another build of kite_hft (0000000000000001, this one is" in found(2, 5).refused
    assert "other dated rules" in found(1, 6).refused


def test_what_the_day_has_earned_counts_each_run_once(tmp_path: Path) -> None:
    def over(name: str, net: int, **start: Any) -> None:
        folder = run(tmp_path, name, [], **start)
        (folder / "report.json").write_text(json.dumps({"pnl_paise": {"net": net}}))

    over("100", -500)
    over("200", -700, continues=["100"])  # holds what the first one made
    over("300", 40)
    over("400", -9_000, broker="another")
    run(tmp_path, "500", trading())  # killed: no report
    run(tmp_path, "600", [])
    (tmp_path / "600/report.json").write_text("{")
    table = instruments()
    assert day_net_paise(tmp_path / "900", BROKER, (), table) == -660
    assert day_net_paise(tmp_path / "900", BROKER, ("100", "200"), table) == 40, "these are replayed"
    assert day_net_paise(tmp_path / "300", BROKER, (), table) == -700, "not its own"


def losing() -> list[Record]:
    """10 bought at 100 and sold at 90, and no word of an end."""
    world = World().start()
    world.send(1)
    filled(world, 10)
    world.send(2, side=Side.SELL)
    filled(world, 10, px=9_000)
    return world.journal.records


def test_what_a_killed_run_has_lost_counts_although_it_wrote_no_report(tmp_path: Path) -> None:
    """It is not gone on with, of another configuration say; the limit on losses is the day's."""
    first = run(tmp_path, "100", losing())
    table = instruments()
    assert day_net_paise(tmp_path / "900", BROKER, (), table) == -10_000
    assert day_net_paise(tmp_path / "900", BROKER, ("100",), table) == 0, "gone on with"
    assert day_net_paise(tmp_path / "900", "another", (), table) == 0
    run(tmp_path, "200", [], continues=["100"])
    assert day_net_paise(tmp_path / "900", BROKER, (), table) == -10_000, "each once"
    (first / "report.json").write_text(json.dumps({"pnl_paise": {"net": -1}}))
    assert day_net_paise(tmp_path / "900", BROKER, (), table) == -10_000, "the later one holds it"


def test_and_what_its_orders_have_cost(tmp_path: Path) -> None:
    run(tmp_path, "100", losing())
    table = InstrumentTable((instrument(0),))
    files = {"date": "2026-11-20", "charges": RULES.with_name("charges_zerodha_2026-04-01.yaml")}
    day = charges_of_day(Settings.model_validate({"trading": files}), table, REAL0)
    lost = day_net_paise(tmp_path / "900", BROKER, (), table, lambda: day)
    assert -11_000 < lost < -10_000


def test_of_a_journal_that_does_not_fit_nothing_is_known(tmp_path: Path) -> None:
    row = next(r for r in trading() if r.kind is Kind.INTENT)
    run(tmp_path, "150", [Record(1, Kind.INTENT, 1, json.dumps(row.data() | {"token": 5}).encode())])
    run(tmp_path, "160", losing())
    assert day_net_paise(tmp_path / "900", BROKER, (), instruments()) == -10_000


def test_another_broker_is_no_concern_of_ours(tmp_path: Path) -> None:
    run(tmp_path, "100", trading())
    assert find(tmp_path / "200", broker="sim http://127.0.0.1:1 of run 200") == Earlier()
    own = [broker_name("sim", "http://127.0.0.1:1", name, own=True) for name in ("a", "b")]
    assert own[0] != own[1]


def test_a_run_whose_start_was_not_written_goes_on_with_the_earlier_one_all_the_same(tmp_path: Path) -> None:
    """Its first process could not write a START, or was killed before: the halt of the second one is all."""
    first = run(tmp_path, "100", trading())
    table, config = instruments(), {"build": 1, "config_hash": 7}
    halt = Record(1, Kind.STATE, 5, b'{"halted": "the order process before this one: Input/output error"}')
    earlier, restarted = earlier_of(config, tmp_path / "200", BROKER, table, (halt,))
    assert earlier.folders == (first,) and not restarted
    book = Book(table)
    found = replay(earlier.records, book, table, 0)
    assert "Input/output error" in found.halted and book.standing(1, 0, Product.MIS).quantity == 10
    second = run(tmp_path, "200", [], continues=["100"])
    own = scan((second / "journal.bin").read_bytes()).records
    again, restarted = earlier_of(config, second, BROKER, table, own)
    assert again.folders == (first,) and restarted and again.records[-len(own) :] == own


END = Record(1, Kind.END, 1, b'{"orders": [], "positions": []}')
PAPER = "paper paper of run 150"


@pytest.mark.parametrize("records", [[END], []])
def test_a_run_of_another_broker_hides_none_of_ours(tmp_path: Path, records: list[Record]) -> None:
    run(tmp_path, "100", trading())
    run(tmp_path, "150", records, broker=PAPER, config=8)
    assert find(tmp_path / "200").names == ("100",)
    run(tmp_path, "200", [], continues=["100"])
    run(tmp_path, "250", records, broker=PAPER)
    assert find(tmp_path / "300").names == ("100", "200")


def test_nor_does_one_of_another_configuration_that_has_ended(tmp_path: Path) -> None:
    """It did not go on with ours, and its end tells nothing of what ours had latched."""
    run(tmp_path, "100", trading())
    run(tmp_path, "150", [END], config=8)
    assert find(tmp_path / "200").names == ("100",)
    assert "run 100 ran with another configuration" in find(tmp_path / "200", config=9).refused


def test_what_an_ended_run_has_gone_on_with_is_over(tmp_path: Path) -> None:
    run(tmp_path, "100", trading())
    run(tmp_path, "150", [END], continues=["100"])
    run(tmp_path, "160", [END], config=8)
    assert find(tmp_path / "200") == find(tmp_path / "200", config=9) == Earlier()


@pytest.mark.parametrize("left", [0, 10, 63])
def test_a_run_that_died_before_it_could_do_anything_is_passed_over(tmp_path: Path, left: int) -> None:
    run(tmp_path, "100", trading())
    late = run(tmp_path, "200", [])
    data = (late / "journal.bin").read_bytes()
    (late / "journal.bin").write_bytes(data[: 64 + 8] if left == 63 else data[:left])
    assert find(tmp_path / "300").names == ("100",)


def test_a_torn_tail_is_what_a_crash_leaves_and_damage_is_not(tmp_path: Path) -> None:
    folder = run(tmp_path, "100", trading())
    path = folder / "journal.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert find(tmp_path / "200").names == ("100",)
    path.write_bytes(whole[:300] + b"\xff\xff" + whole[302:])
    assert "corrupt" in find(tmp_path / "200").refused
    path.write_bytes(b"\xff" + whole[1:])
    assert "run 100 cannot be read" in find(tmp_path / "200").refused


def test_damage_in_any_of_the_days_journals_is_refused(tmp_path: Path) -> None:
    first = run(tmp_path, "100", trading())
    second = run(tmp_path, "200", [], continues=["100"])
    third = run(tmp_path, "300", [], continues=["100", "200"])
    path = first / "journal.bin"
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert find(tmp_path / "400").folders == (first, second, third), "a torn tail is what a kill leaves"
    path.write_bytes(whole[:300] + b"\xff\xff" + whole[302:])
    assert "the journal of run 100 is corrupt: record" in find(tmp_path / "400").refused
    with pytest.raises(JournalError, match="the journal of run 100 is corrupt"):
        day_records(third)  # as the order process does that is started again


TODAY = DaySoFar("2027-01-15", (100,), gross_paise=5_000, contracts={256001: (9, 2, 1)})


def ended(day: DaySoFar | None = None, **more: Any) -> list[Record]:
    """An orderly end; without a day as an engine before has written it."""
    words = {"orders": [], "positions": []} | more | ({"day": packed(day)} if day else {})
    return [Record(1, Kind.END, REAL0, json.dumps(words).encode())]


def so_far(folder: Path, chain: tuple[str, ...] = (), now_ns: int = REAL0, **risk: Any) -> DaySoFar | None:
    return day_so_far(folder, BROKER, chain, instruments(), RiskLimits(**risk), now_ns)


def test_the_sums_of_the_day_are_those_of_the_newest_run_on_the_broker(tmp_path: Path) -> None:
    assert so_far(tmp_path / "100") is None
    run(tmp_path, "100", ended(TODAY, positions=[{}]))
    run(tmp_path, "150", ended(DaySoFar("2027-01-15", (150,))), broker="another")
    assert so_far(tmp_path / "200") == so_far(tmp_path / "120") == TODAY
    assert so_far(tmp_path / "200", ("100",)) is None, "its journal is replayed"
    newer = DaySoFar("2027-01-15", (100, 180), gross_paise=7_000)
    run(tmp_path, "180", ended(newer), config=8)
    assert so_far(tmp_path / "200") == so_far(tmp_path / "200", ("100",)) == newer, "of any configuration"
    (tmp_path / "190").mkdir()
    (tmp_path / "190/journal.bin").write_bytes(b"x" * 100)
    assert so_far(tmp_path / "200") == newer


def test_a_new_day_begins_from_zero(tmp_path: Path) -> None:
    run(tmp_path, "100", ended(TODAY))
    midnight_ns = REAL0 + (24 * 3600 - (REAL0 // 10**9 + 19800) % 86400) * 10**9
    assert so_far(tmp_path / "200", now_ns=midnight_ns - 1) == TODAY
    assert so_far(tmp_path / "200", now_ns=midnight_ns) is None


@pytest.mark.parametrize("end", [[], ended()])
def test_a_run_that_died_or_that_an_engine_before_has_written_is_known_by_its_records(
    tmp_path: Path, end: list[Record]
) -> None:
    codes = {"do": "strategies", "strategies": {"1": {"name": "one"}, "2": {"name": "two"}}}
    named = Record(1, Kind.COMMAND, REAL0, json.dumps(codes).encode())
    run(tmp_path, "100", [named, *trading(), *end], config=8, run=100)
    found = so_far(tmp_path / "200", cooldown_s=60.0)
    assert found is not None and (found.gross_paise, found.runs) == (100_000, (100,))
    assert found.strategies == {"one": (1, 0, 1)} and found.contracts == {instruments()[0].token: (1, 0, 1)}
    run(tmp_path, "120", [], run=120, day=packed(found))
    assert so_far(tmp_path / "200") == DaySoFar(
        found.day, (100, 120), found.gross_paise, found.contracts, found.strategies
    )


def test_of_one_that_does_not_fit_the_next_one_may_tell(tmp_path: Path) -> None:
    run(tmp_path, "100", ended(TODAY))
    row = next(r for r in trading() if r.kind is Kind.INTENT)
    run(tmp_path, "150", [Record(1, Kind.INTENT, 1, json.dumps(row.data() | {"token": 5}).encode())])
    assert so_far(tmp_path / "200") == TODAY


def test_the_sums_of_many_contracts_hide_no_loss(tmp_path: Path) -> None:
    """The START record that holds them is a long one."""
    many = DaySoFar("2027-01-15", (1,), contracts={token: (1, 1, 1) for token in range(9000)})
    folder = run(tmp_path, "100", [], day=packed(many))
    (folder / "report.json").write_text(json.dumps({"pnl_paise": {"net": -500}}))
    assert day_net_paise(tmp_path / "200", BROKER, (), instruments()) == -500
    assert so_far(tmp_path / "200") is not None
