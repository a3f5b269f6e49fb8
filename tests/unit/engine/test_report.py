"""report.json: each figure comes from its own counter, and from what ORDERS said."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft import _counters
from kite_hft.engine.report import Readings, make_report
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.memory.segment import attach, create, make_directory


@pytest.fixture
def readings(tmp_path: Path):
    """Every counter holds another number: 1000 x stage + index + 1; every histogram another count."""
    folder, paths, held = make_directory(tmp_path, "shm"), {}, []
    for stage_no, (stage, names) in enumerate(COUNTERS.items(), 1):
        name = f"counters-{stage}"
        paths[name] = create(
            folder, name, SegmentKind.COUNTERS, 1, now_mono_ns=1, now_real_ns=1,
            counters=len(names), histograms=len(HISTOGRAMS[stage]),
        )  # fmt: skip
        held.append(attach(paths[name], SegmentKind.COUNTERS, writable=True))
        writer = _counters.CounterWriter(held[-1].view)
        for index in range(len(names)):
            writer.set(index, value(stage, names[index]))
        for index in range(len(HISTOGRAMS[stage])):
            writer.record(index, 1000 * stage_no, 10 * stage_no + index)
        del writer
    opened = Readings.open(paths)
    yield opened
    opened.close()
    for segment in held:
        segment.close()


def value(stage: str, name: str) -> int:
    return 1000 * (list(COUNTERS).index(stage) + 1) + COUNTERS[stage].index(name) + 1


PARTS = {
    "market": {"start": {"first_tick_s": 1.5}},
    "orders": {
        "orders": {"intents": 7, "refused": {"STALE_TICK": 2}},
        "pnl_paise": {"gross": 5, "charges": 1, "net": 4},
        "positions": [{"instrument": "NSE:A", "quantity": 3}],
        "open": {"orders": [{"order_id": "9"}]},
    },
}


def report_of(readings: Readings, parts: dict) -> dict:
    return make_report(
        readings, parts, mode="sim", duration_s=2.0, memory={"m": {"rss": 1}}, cpu={"m": {"user_s": 2.0}},
        shm_bytes={"ticks-0": 77}, absence_horizon_s=180.0,
    )  # fmt: skip


def test_every_figure_has_its_own_counter(readings: Readings) -> None:
    report = report_of(readings, PARTS)
    ticks = report["ticks"]
    for name in ("received", "decoded", "published", "unknown_instrument"):
        assert ticks[name] == value("feed", name), name
    for name in ("computed", "lost"):
        assert ticks[name] == value("compute", name), name
    assert ticks["malformed"] == {
        name.removeprefix("malformed_"): value("feed", name)
        for name in COUNTERS["feed"]
        if "malformed" in name
    }
    assert ticks["checksum"] == {
        "decoded": f"{value('feed', 'checksum_decoded'):016x}",
        "published": f"{value('feed', 'checksum_published'):016x}",
        "computed": f"{value('compute', 'checksum_computed'):016x}",
    }
    assert (report["bars"], report["signals"]) == (value("compute", "bars"), value("compute", "signals"))
    for stage_no, names in enumerate(HISTOGRAMS.values(), 1):
        for index, name in enumerate(names):
            assert report["latency_us"][name]["n"] == 10 * stage_no + index, name


def test_orders_own_words_are_taken_over(readings: Readings) -> None:
    report = report_of(readings, PARTS)
    for ours, theirs in (("orders", "orders"), ("pnl_paise", "pnl_paise"), ("positions", "positions")):
        assert report[ours] == PARTS["orders"][theirs]
    assert report["open_at_end"] == PARTS["orders"]["open"]
    assert report["start"] == {"market": {"first_tick_s": 1.5}}
    assert report["memory"] == {"by process": {"m": {"rss": 1}}, "shm": {"ticks-0": 77}}


def test_without_them_the_counters_stand(readings: Readings) -> None:
    orders = report_of(readings, {})["orders"]
    assert orders["sent"] == value("orders", "sent")
    assert orders["refused"] == {"UNKNOWN": value("orders", "refused")}
