"""What `stop` says before it stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from kite_hft.app.steer.stop import WHAT, Tail, policy_of, words

ENTRY = {"opening": True, "status": "OPEN", "order_no": 1, "instrument": "NSE:A"}
STOP = {**ENTRY, "opening": False}


def held(quantity: int, protected: int) -> dict[str, object]:
    return {"instrument": "NSE:A", "quantity": quantity, "protected": protected}


def test_nothing_open_is_said() -> None:
    assert words([], []) == ["nothing is open: no working order, no position"]


def test_orders_and_positions_are_counted() -> None:
    assert words([ENTRY, STOP, STOP], [held(5, 5)]) == [
        "\nopen now: 1 entry and 2 exits and stops working; 1 position"
    ]
    assert words([], [held(5, 5), held(-3, 3)])[0].endswith(
        "no entries and no exits and stops working; 2 positions"
    )


def test_what_no_stop_protects_and_what_nobody_knows_is_named() -> None:
    lines = words([{**ENTRY, "status": "AMBIGUOUS"}], [held(-5, 4)])
    assert any("no stop at the broker protects: NSE:A -5" in line for line in lines)
    assert any("fate unknown, may still fill: no 1 NSE:A" in line for line in lines)


def test_one_policy_only() -> None:
    assert policy_of(False, False, False) == "cancel" and policy_of(False, False, True) == "flatten"
    assert {policy_of(*(n == i for i in range(3))) for n in range(4)} == set(WHAT)
    with pytest.raises(typer.BadParameter, match="--keep and --cancel exclude one another"):
        policy_of(True, True, False)


def test_the_log_is_followed_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "engine.log"
    path.write_text(json.dumps({"event": "before"}) + "\n")
    tail = Tail(path)
    assert list(tail.lines()) == []
    with path.open("a") as log:
        log.write(json.dumps({"event": "one"}) + "\nno json\n" + '{"event": "tw')
        log.flush()
        assert list(tail.lines()) == ["one"]
        log.write('o"}\n')
        log.flush()
        assert list(tail.lines()) == ["two"] and list(tail.lines()) == []
    assert list(Tail(tmp_path / "none").lines()) == []
