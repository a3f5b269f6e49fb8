"""The rows that wait at a sink: what is critical leaves first, what matters least is dropped first."""

from __future__ import annotations

from kite_hft.engine.alerts.sinks.sink import WAITING_MAX, Row, Tally
from kite_hft.engine.alerts.sinks.waiting import Waiting


def row(number: int, severity: str, event: str = "raised") -> Row:
    return {"number": number, "severity": severity, "event": event}


def numbers(waiting: Waiting, now_ns: int = 0) -> list[int]:
    found = []
    while (entry := waiting.take(now_ns)) is not None:
        found.append(int(entry.row["number"]))
    return found


def test_a_critical_row_overtakes_the_others_but_not_its_own_alert() -> None:
    waiting = Waiting(Tally())
    rows = [row(1, "WARNING"), row(2, "WARNING"), row(3, "INFO"), row(2, "CRITICAL"), row(4, "CRITICAL")]
    for given in [*rows, row(1, "WARNING", "cleared")]:
        waiting.put(given, 0)
    assert numbers(waiting) == [2, 2, 4, 1, 3, 1]


def test_no_row_of_an_alert_leaves_while_another_of_it_is_under_way() -> None:
    waiting = Waiting(Tally())
    for given in [row(1, "CRITICAL"), row(1, "CRITICAL", "cleared"), row(2, "INFO")]:
        waiting.put(given, 0)
    found = waiting.take(0, {1})
    assert found is not None and found.row["number"] == 2
    assert waiting.take(0, {1}) is None
    assert numbers(waiting) == [1, 1]


def test_of_too_many_the_least_important_go_first() -> None:
    tally = Tally()
    waiting = Waiting(tally)
    for number in range(WAITING_MAX - 2):
        waiting.put(row(number, "CRITICAL"), 0)
    waiting.put(row(900, "WARNING"), 0)
    waiting.put(row(901, "INFO"), 0)
    for number in (902, 903, 904):
        waiting.put(row(number, "CRITICAL"), 0)
    assert (tally.dropped, len(waiting)) == (3, WAITING_MAX)
    assert numbers(waiting) == [*range(1, WAITING_MAX - 2), 902, 903, 904]


def test_what_is_tried_again_later_keeps_its_place_and_holds_up_only_its_own_alert() -> None:
    waiting = Waiting(Tally())
    for given in [row(1, "CRITICAL"), row(1, "CRITICAL", "cleared"), row(2, "CRITICAL"), row(3, "WARNING")]:
        waiting.put(given, 0)
    first = waiting.take(0)
    assert first is not None and first.row["number"] == 1
    first.not_before_ns, first.tries = 5, 1
    waiting.back(first)
    assert waiting.next_ns() == 0 and numbers(waiting) == [2, 3]
    assert waiting.next_ns() == 5 and waiting.take(4) is None
    assert numbers(waiting, 5) == [1, 1] and waiting.next_ns() == 0
    waiting.back(first)
    assert waiting.clear() == 1 and len(waiting) == 0


def test_what_a_person_has_seen_nobody_is_reminded_of() -> None:
    waiting = Waiting(Tally())
    for number in (1, 2):
        for event in ("raised", "reminder", "reminder", "cleared"):
            waiting.put(row(number, "CRITICAL", event), 0)
    waiting.seen(2)
    left = [waiting.take(0) for _ in range(len(waiting))]
    events = [(entry.row["number"], entry.row["event"]) for entry in left if entry is not None]
    assert events == [
        (1, "raised"), (1, "reminder"), (1, "reminder"), (1, "cleared"), (2, "raised"), (2, "cleared"),
    ]  # fmt: skip
