"""The recount of `verify crash` finds what is planted: lost, doubled, unexplained; and a sound day passes."""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from kite_hft.memory.journal import Header, Kind, encode
from kite_hft.verify.crash.count import records, recount

ENGINE = 77
TAGS = [f"abc0001{n:011d}00" for n in range(4)]
COLUMNS = "status,filled,tag"


def journal(rows: list[tuple[Kind, dict[str, Any]]]) -> bytes:
    """The bytes of a journal, as the engine writes it."""
    data = Header(build=1, config=2, created_real_ns=3).encode()
    seed = crc = zlib.crc32(data[:-4])
    for seq, (kind, said) in enumerate(rows, 1):
        record, crc = encode(kind, seq, 5, json.dumps(said).encode(), before=crc, seed=seed, lag=0)
        data += record
    return data


def intent(no: int, side: int = 1) -> tuple[Kind, dict[str, Any]]:
    said = {"no": no, "strategy": 1, "seq": no, "token": 9, "side": side, "qty": 1, "tag": TAGS[no]}
    return Kind.INTENT, said


def order(no: int, status: str = "COMPLETE", filled: int = 1) -> dict[str, Any]:
    return {
        "order_id": f"id{no}", "tags": [TAGS[no], "mktp"], "instrument_token": 9, "quantity": 1,
        "transaction_type": "BUY", "status": status, "filled_quantity": filled, "product": "MIS",
    }  # fmt: skip


class Day:
    """A sound day: one order filled, one refused by the broker, one that never left, one intent refused."""

    def __init__(self) -> None:
        trade = {"trade_id": "t1", "order_id": "id1", "quantity": 1}
        self.rows = [
            intent(1),
            (Kind.ANSWER, {"call": "place", "no": 1, "outcome": "confirmed", "order_id": "id1"}),
            (Kind.TRADE, {"no": 1, "trade": trade}),
            intent(2),
            (Kind.RESOLVED, {"no": 2, "how": "absent"}),
            (Kind.REFUSED, {"seq": 3, "strategy": 1}),
        ]
        self.told: dict[str, Any] = {
            "orders": [order(1)],
            "trades": [trade],
            "positions": [{"instrument_token": 9, "product": "MIS", "quantity": 1}],
        }
        self.asked = [[ENGINE, n, "place", 9, "BUY", 1] for n in (1, 2, 3)]
        self.csv = [f"COMPLETE,1,{TAGS[1]}"]
        self.cut: set[int] = set()

    def count(self, folder: Path) -> dict[str, Any]:
        (folder / "journal.bin").write_bytes(journal(self.rows))
        (folder / "asked").write_text("".join(json.dumps(row) + "\n" for row in self.asked))
        (folder / "orders.csv").write_text("\n".join([COLUMNS, *self.csv]) + "\n")
        return recount(copy.deepcopy(self.told), [(ENGINE, folder)], folder / "asked", self.cut)


def words(found: dict[str, Any]) -> dict[str, int]:
    return {name: len(found[name]) for name in ("lost", "doubled", "unexplained")}


def test_a_sound_day_passes(tmp_path: Path) -> None:
    found = Day().count(tmp_path)
    assert words(found) == {"lost": 0, "doubled": 0, "unexplained": 0}, found
    assert found["orders_at_broker"] == 1 and found["never_reached_broker"] == {"absent": 1}


def stranger(day: Day) -> None:
    day.told["orders"].append(order(3))


def vanished(day: Day) -> None:
    day.rows.append((Kind.ANSWER, {"call": "place", "no": 1, "outcome": "confirmed", "order_id": "id9"}))


def unrecorded(day: Day) -> None:
    day.asked.append([ENGINE, 4, "place", 9, "BUY", 1])


def twice_at_the_broker(day: Day) -> None:
    day.told["orders"].append(order(1) | {"order_id": "id8", "status": "OPEN"})


def twice_in_the_journal(day: Day) -> None:
    kind, said = intent(1)
    day.rows += [(kind, said | {"no": 3, "tag": TAGS[3]}), (Kind.RESOLVED, {"no": 3, "how": "absent"})]


def without_a_word(day: Day) -> None:
    del day.rows[4]


def not_asked_for(day: Day) -> None:
    day.asked[0] = [ENGINE, 1, "place", 9, "SELL", 1]


def another_quantity(day: Day) -> None:
    day.told["orders"][0]["quantity"] = 2


def trade_unknown(day: Day) -> None:
    del day.rows[2]


def position_off(day: Day) -> None:
    day.told["positions"][0]["quantity"] = 2


def row_missing(day: Day) -> None:
    day.csv = []


def row_doubled(day: Day) -> None:
    day.csv *= 2


@pytest.mark.parametrize(
    ("plant", "what"),
    [
        (stranger, "lost"),
        (vanished, "lost"),
        (unrecorded, "lost"),
        (twice_at_the_broker, "doubled"),
        (twice_in_the_journal, "doubled"),
        (without_a_word, "unexplained"),
        (not_asked_for, "unexplained"),
        (another_quantity, "unexplained"),
        (trade_unknown, "unexplained"),
        (position_off, "unexplained"),
        (row_missing, "unexplained"),
        (row_doubled, "unexplained"),
    ],
)
def test_what_is_wrong_is_found(tmp_path: Path, plant: Any, what: str) -> None:
    day = Day()
    plant(day)
    found = day.count(tmp_path)
    assert found[what], (plant.__name__, found)


def test_only_the_end_of_a_killed_engine_s_queue_may_be_without_a_record(tmp_path: Path) -> None:
    day = Day()
    day.cut = {ENGINE}
    unrecorded(day)
    assert not day.count(tmp_path)["lost"]
    del day.rows[5]
    day.rows.append((Kind.REFUSED, {"seq": 4, "strategy": 1}))  # 3 was taken before it, and has none
    assert len(day.count(tmp_path)["lost"]) == 1


def test_the_parser_stops_where_a_record_does_not_hold() -> None:
    data = journal(Day().rows)
    assert len(records(data)[0]) == 6 and records(data)[1] == 0
    damaged = data[:-1] + bytes([data[-1] ^ 1])
    assert len(records(damaged)[0]) == 5 and records(damaged)[1] > 0
