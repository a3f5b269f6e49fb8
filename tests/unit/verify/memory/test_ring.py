"""The ring's verification: it passes on the ring, and fails on what it must fail on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kite_hft.verify.memory import ring, ring_worker


def test_one_line_and_all_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert ring.main(["--messages", "1e6", "--no-faults", "--rate"]) == 0
    out, _ = capsys.readouterr()
    assert out.count("\n") == 1
    report = json.loads(out)
    assert report["ok"]
    assert (report["paced"]["got"], report["paced"]["lost"], report["paced"]["torn"]) == (1_000_000, 0, 0)
    stalled = report["stalled"]
    assert stalled["got"] + stalled["lost"] == stalled["produced"] == 1_000_000
    assert stalled["lost"] >= 50_000
    assert stalled["torn"] == 0
    assert (report["rate"]["got"], report["rate"]["lost"]) == (1_000_000, 0)


@pytest.mark.parametrize("form", ring.FAULTS)
def test_every_broken_ring_is_caught(form: str) -> None:
    found = ring.catches(form)
    assert found["caught"]
    assert found["sound_form_holds"]


GOOD = {"produced": 10, "position": 10, "got": 10, "lost": 0, "torn": 0}


@pytest.mark.parametrize(
    ("change", "paced", "expected"),
    [
        ({}, True, True),
        ({"torn": 1}, True, False),
        ({"got": 9, "lost": 1}, True, False),
        ({"got": 9}, True, False),
        ({"position": 9}, True, False),
        ({"produced": 9, "got": 9, "position": 9}, True, False),
        ({}, False, False),
        ({"got": 6, "lost": 4}, False, False),
        ({"got": 5, "lost": 5}, False, True),
        ({"got": 5, "lost": 6}, False, False),
        ({"got": 5, "lost": 5, "torn": 1}, False, False),
    ],
)
def test_what_counts_as_holding(change: dict[str, int], paced: bool, expected: bool) -> None:
    assert ring.holds(GOOD | change, 10, paced=paced) is expected


def test_a_miss_is_an_exit_code_and_a_replay_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def torn(*args: Any, **kwargs: Any) -> dict[str, Any]:
        return {"produced": 1000, "position": 1000, "got": 1000, "lost": 0, "torn": 1}

    monkeypatch.setattr(ring, "run_pair", torn)
    assert ring.main(["--messages", "1000", "--no-faults"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report["ok"]
    assert report["replay"] == "python -m kite_hft.verify ring --messages 1000"


def test_a_worker_that_dies_ends_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ring, "WORKER", "import sys; sys.exit(3)")
    assert ring.main(["--messages", "1000"]) == 1
    assert "one of them died" in json.loads(capsys.readouterr().out)["error"]


def test_the_check_sees_every_changed_byte() -> None:
    payload = ring_worker.Payload(5)
    payload.fill(1000, 5)
    payload.records["seq"] = range(1000, 1005)
    assert payload.wrong(1000, 5) == 0
    assert payload.wrong(1001, 4) == 4
    raw = payload.records.view("u1")
    for at in range(5 * 192):
        raw[at] ^= 1
        assert payload.wrong(1000, 5) == 1
        raw[at] ^= 1
    assert payload.wrong(1000, 5) == 0


def test_counts_are_written_either_way() -> None:
    assert (ring.count("1e6"), ring.count("123")) == (1_000_000, 123)
    with pytest.raises(Exception, match="at least 1"):
        ring.count("0")


def test_no_bar_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    with ring._bar(10**9, "paced") as tell:
        tell(5)
    assert capsys.readouterr().err == ""
