"""The fault file, with its errors, and the schedule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kite_hft.settings import SettingsError
from kite_hft.sim.faults.schedule import (
    ARMED,
    FAULTS,
    FaultError,
    FaultRow,
    Faults,
    Hits,
    load_faults,
    parse_row,
)
from kite_hft.sim.upstox.faults import UPSTOX_FAULTS

ROOT = Path(__file__).resolve().parents[4]
SECOND = 1_000_000_000


def row(**given: Any) -> FaultRow:
    return parse_row(given, "row 1")


def test_the_example_files_are_whole() -> None:
    bad_day = load_faults(ROOT / "config/faults/bad_day.yaml")
    assert {r.kind for r in bad_day} == set(FAULTS)
    upstox = load_faults(ROOT / "config/faults/bad_day_upstox.yaml")
    assert {r.kind for r in upstox} == set(FAULTS) - set(UPSTOX_FAULTS.missing)
    ways = {r.kind for r in upstox if r.parameters.get("request") == "authorize"}
    assert ways == {"http_403", "http_503", "accept_then_drop", "slow_answer"}
    assert max(r.at_ns for r in (*bad_day, *upstox)) < 480 * SECOND
    assert load_faults(ROOT / "config/faults/restless.yaml")


def test_every_kind_stands_by_itself_or_needs_an_instrument() -> None:
    for kind, fault in FAULTS.items():
        needs = {"instrument": "NSE:INFY"} if kind in ("ex_date_close", "circuit_lock") else {}
        made = row(kind=kind, at=1, **needs)
        assert (made.at_ns, made.for_ns, made.hits) == (SECOND, round(fault.for_s * SECOND), fault.hits)
        assert set(made.parameters) == set(fault.parameters)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"kind": "drp"}, "row 1: unknown kind 'drp'; did you mean 'drop'?"),
        ({"kind": "http_500"}, "did you mean 'http_50"),
        ({"kind": "zzz"}, "known kinds: drop, reset,"),
        ({"at": 3}, "a fault needs a kind"),
        ("drop", "a fault needs a kind"),
        (
            {"kind": "drop", "conection": 1},
            "(drop): unknown parameter 'conection'; did you mean 'connection'?",
        ),
        ({"kind": "drop", "for": 3}, "unknown parameter 'for'"),
        ({"kind": "drop", "count": 3}, "unknown parameter 'count'"),
        ({"kind": "http_429", "connection": 1}, "unknown parameter 'connection'"),
        ({"kind": "drop", "connection": "one"}, "connection: 'one' is neither all nor a number"),
        ({"kind": "drop", "at": -1}, "at: -1 is no number from 0"),
        ({"kind": "drop", "at": "soon"}, "at: 'soon' is no number"),
        ({"kind": "drop", "at": True}, "at: True is no number"),
        ({"kind": "drop", "every": 1, "probability": 0.1}, "exclude each other"),
        ({"kind": "drop", "probability": 1.5}, "probability: 1.5 is no number from 0 to 1"),
        ({"kind": "silence", "for": 0}, "for: 0 is no number from 0.001"),
        ({"kind": "silence", "for": 601}, "for: 601"),
        ({"kind": "truncate", "count": 0}, "count: 0 is no whole number from 1"),
        ({"kind": "truncate", "count": 1.5}, "count: 1.5 is no whole number"),
        ({"kind": "wrong_count", "by": 0}, "by: 0 would be the right count"),
        ({"kind": "unknown_packet", "length": 184}, "length 184: 1 to 999, and none of 8, 28, 32, 44, 184"),
        ({"kind": "http_503", "processed": "yes"}, "processed: 'yes' is no bool"),
        ({"kind": "http_503", "request": "orders"}, "request: 'orders' is none of place, modify"),
        ({"kind": "circuit_lock"}, "needs an instrument"),
        ({"kind": "rms_order", "instrument": "NSE:INFY"}, "needs side (BUY, SELL) and quantity"),
        ({"kind": "ex_date_close", "instrument": "NSE:INFY", "factor": 0}, "factor 0 is not between"),
    ],
)
def test_a_wrong_row_is_named_with_cause_and_fix(given: Any, text: str) -> None:
    with pytest.raises(FaultError) as error:
        parse_row(given, "row 1")
    assert text in str(error.value) and str(error.value).startswith("row 1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "- {at: 1, kind: drop}\n- {at: 2, kind: rset}\n",
            "bad.yaml, row 2: unknown kind 'rset'; did you mean 'reset'",
        ),
        ("kind: drop\n", "bad.yaml: expected a list of faults"),
        ("- [\n", "bad.yaml, line"),
    ],
)
def test_a_wrong_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(SettingsError) as error:
        load_faults(tmp_path / "bad.yaml")
    assert message in str(error.value)
    with pytest.raises(SettingsError, match="no such file"):
        load_faults(tmp_path / "none.yaml")


def test_an_empty_file_is_no_faults(tmp_path: Path) -> None:
    (tmp_path / "calm.yaml").write_text("# nothing\n")
    assert load_faults(tmp_path / "calm.yaml") == []
    assert Faults().idle and Faults().next_ns() is None


# -- the schedule


def came(faults: Faults, until_s: float, step_s: float = 0.1) -> list[float]:
    """Times at which something was due, looked for every `step_s`."""
    out = []
    for i in range(1, round(until_s / step_s) + 1):
        out += [round(i * step_s, 3)] * len(faults.due(round(i * step_s * SECOND)))
    return out


def test_at_is_once_and_every_goes_on_until_it_is_told() -> None:
    assert came(Faults([row(kind="drop", at=1.5)]), 10) == [1.5]
    assert came(Faults([row(kind="drop", every=2)]), 7) == [2, 4, 6]
    assert came(Faults([row(kind="drop", at=1, every=2, times=2)]), 9) == [1, 3]
    assert came(Faults([row(kind="drop", at=1, every=2, until=4)]), 9) == [1, 3]
    ended = Faults([row(kind="drop", at=1, every=2, times=2)])
    came(ended, 9)
    assert ended.idle


def test_a_late_look_catches_up_and_next_tells_when() -> None:
    faults = Faults([row(kind="drop", every=2), row(kind="reset", at=3)])
    assert faults.next_ns() == 2 * SECOND
    assert [r.kind for r in faults.due(6 * SECOND)] == ["drop", "drop", "drop", "reset"]
    assert faults.next_ns() == 8 * SECOND and faults.due(7 * SECOND) == []


def test_armed_kinds_strike_count_times_what_fits() -> None:
    faults = Faults([row(kind="truncate", at=1, count=2, connection=1)])
    assert faults.take(Hits.FRAME, 0, lambda _: True) is None
    assert faults.due(SECOND) == []
    assert faults.waits_for(Hits.FRAME) and not faults.waits_for(Hits.UPDATE)
    assert faults.take(Hits.UPDATE, SECOND, lambda _: True) is None
    assert faults.take(Hits.FRAME, SECOND, lambda r: r.connection in (None, 0)) is None
    hits = [faults.take(Hits.FRAME, SECOND, lambda r: r.connection in (None, 1)) for _ in range(3)]
    assert [h.kind if h else None for h in hits] == ["truncate", "truncate", None]
    assert faults.idle


def test_what_comes_by_is_struck_once_at_most() -> None:
    faults = Faults([row(kind="truncate", at=0), row(kind="wrong_count", at=0)])
    faults.due(0)
    assert faults.take(Hits.FRAME, 0, lambda _: True).kind == "truncate"  # type: ignore[union-attr]
    assert faults.take(Hits.FRAME, 0, lambda _: True).kind == "wrong_count"  # type: ignore[union-attr]
    assert faults.take(Hits.FRAME, 0, lambda _: True) is None


def test_what_still_waits_is_not_armed_again() -> None:
    faults = Faults([row(kind="http_503", every=1)])
    faults.due(10 * SECOND)
    assert faults.take(Hits.REQUEST, 0, lambda _: True) is not None
    assert faults.take(Hits.REQUEST, 0, lambda _: True) is None
    faults.due(11 * SECOND)
    assert faults.take(Hits.REQUEST, 0, lambda _: True) is not None


def test_chance_is_seeded_has_its_share_and_its_time() -> None:
    def strikes(seed: int) -> list[int]:
        faults = Faults([row(kind="truncate", probability=0.1, at=1, until=9)], seed)
        return [i for i in range(10_000) if faults.take(Hits.FRAME, i * SECOND // 1000, lambda _: True)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 700 < len(strikes(1)) < 900 and strikes(1)[0] >= 1000 and strikes(1)[-1] <= 9000


def test_chance_of_a_connections_end_is_drawn_each_second() -> None:
    faults = Faults([row(kind="drop", probability=0.5, at=1, until=400)], seed=3)
    times = came(faults, 500)
    assert 150 < len(times) < 250 and all(t == int(t) for t in times) and times[-1] <= 400
    assert faults.idle


def test_the_log_shows_parameters_in_seconds() -> None:
    assert row(kind="half_open", **{"for": 2}).described() == {"for": 2.0, "keeps_place": False}
    assert row(kind="drop").described() == {}
    assert {FAULTS[k].hits for k in ("truncate", "update_late", "http_429", "stuck_order")} == ARMED
