"""The header verification: everything is damaged, and a silent accept or a crash would be reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import segments

from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.verify.memory import header, header_worker


def test_every_byte_of_every_kind_and_nothing_is_accepted(capsys: pytest.CaptureFixture[str]) -> None:
    assert header.main(["--mutations", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["ok"]
    assert report["mutations"] >= 4 * 8192
    for kind in header.KINDS:
        outcomes = report[kind.name.lower()]
        refused = sum(n for what, n in outcomes.items() if what.startswith("header refused:"))
        assert refused >= 4096
        assert not any(what.startswith("header") and "refused" not in what for what in outcomes)
        assert outcomes["sparse refused:Truncated"] == 1


def test_the_plan_covers_every_byte_size_and_page_edge() -> None:
    image = bytes(12_000)
    for index in (0, 1, 4095, 4096, 8191):
        damaged, what = header_worker.mutate(image, index, 1)
        assert [at for at in range(len(image)) if damaged[at] != image[at]] == [index]
        assert what == ("header" if index < 4096 else "control")
    sizes = header_worker.sizes(12_000)
    assert {0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 11_999, 12_001} <= set(sizes)
    assert 12_000 not in sizes
    cut = [header_worker.mutate(image, 8192 + i, 1) for i in range(len(sizes))]
    assert [len(damaged) for damaged, _what in cut] == sizes
    assert header_worker.mutate(image, 8192 + len(sizes), 1)[1] == "sparse"
    assert header_worker.mutate(image, 99_999, 1) == header_worker.mutate(image, 99_999, 1)


@pytest.mark.parametrize(
    ("broken", "outcome"),
    [
        ("lambda *a, **k: 'fine'", "accepted with a damaged header"),
        ("lambda *a, **k: 1 / 0", "unnamed error ZeroDivisionError"),
        ("lambda *a, **k: __import__('os').abort()", "the process ended with -6"),
    ],
)
def test_what_must_not_happen_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str, outcome: str
) -> None:
    worker = f"from kite_hft.verify.memory import header_worker as w; w.use = {broken}; w.run()"
    monkeypatch.setattr(header, "WORKER", worker)
    folder = segments.folder(tmp_path)
    result = header.damage(folder, SegmentKind.TICK_RING, 3, 1)
    assert len(result["violations"]) == 3
    assert all(violation["outcome"].startswith(outcome) for violation in result["violations"])
    assert [violation["index"] for violation in result["violations"]] == [0, 1, 2]


def test_a_wrong_record_is_no_harmless_end(tmp_path: Path) -> None:
    path = header.make(segments.folder(tmp_path), SegmentKind.TICK_RING)
    kind = SegmentKind.TICK_RING
    assert header_worker.use(path, kind, True) == "harmless"
    with segment.attach(path, kind, writable=True, claim=False) as held:
        held.view[8192 + 100] ^= 1
    assert header_worker.use(path, kind, True) == "a record that was never written"
    assert header_worker.use(path, kind, False) == "harmless"
