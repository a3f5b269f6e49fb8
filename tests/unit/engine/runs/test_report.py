"""report.json: each figure comes from its own counter, and from what ORDERS said."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import psutil
import pytest

from kite_hft import _counters
from kite_hft.engine.runs.report import CONNECTION_COUNTERS, Readings, make_report, processes
from kite_hft.layout import COUNTERS, HISTOGRAMS, SLOT_STATS, SegmentKind
from kite_hft.memory.header import PAYLOAD_OFFSET
from kite_hft.memory.segment import attach, create, make_directory


@pytest.fixture
def readings(tmp_path: Path):
    """Every counter holds another number: 1000 x stage + index + 1; every histogram another count."""
    folder, paths, held = make_directory(tmp_path, "shm"), {}, []
    for stage_no, (stage, names) in enumerate(COUNTERS.items(), 1):
        name = f"counters-{stage}-0" if stage in ("feed", "compute") else f"counters-{stage}"
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
    paths["slots-0"] = create(folder, "slots-0", SegmentKind.SLOT_STATS, 3, now_mono_ns=1, now_real_ns=1)
    held.append(attach(paths["slots-0"], SegmentKind.SLOT_STATS, writable=True))
    rows = np.frombuffer(held[-1].view[PAYLOAD_OFFSET : PAYLOAD_OFFSET + 3 * SLOT_STATS.itemsize], SLOT_STATS)
    rows["gaps"], rows["gap_ns"] = [1, 0, 3], [2_000_000_000, 0, 5_500_000_000]
    rows["longest_silence_ns"] = [0, 7_000_000_000, 1]
    del rows
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
        "fills": {"rule": "R"},
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
    assert report["open_at_end"] == PARTS["orders"]["open"] and report["fills"] == {"rule": "R"}
    assert report["start"] == {"market": {"first_tick_s": 1.5}}
    assert report["memory"] == {"by process": {"m": {"rss": 1}}, "shm": {"ticks-0": 77}}


def test_without_them_the_counters_stand(readings: Readings) -> None:
    orders = report_of(readings, {})["orders"]
    assert orders["sent"] == value("orders", "sent")
    assert orders["refused"] == {"UNKNOWN": value("orders", "refused")}
    pnl = report_of(readings, {})["pnl_paise"]
    assert pnl["net"] == value("orders", "net_pnl_paise") and pnl["charges"] == value(
        "orders", "charges_paise"
    )


def test_a_connection_has_a_row_of_its_own(readings: Readings) -> None:
    (row,) = report_of(readings, {})["ticks"]["by_connection"]
    assert {name: row[name] for name in CONNECTION_COUNTERS} == {
        name: value("feed", name) for name in CONNECTION_COUNTERS
    }
    assert (row["connection"], row["instruments"]) == (0, value("feed", "subscribed"))
    assert (row["gaps"], row["gap_s"], row["longest_silence_s"]) == (4, 5.5, 7.0)
    assert row["drops"] == sum(
        value("feed", n) for n in ("closes_by_peer", "closes_abrupt", "watchdog_trips")
    )
    assert row["malformed"] == sum(value("feed", n) for n in COUNTERS["feed"] if n.startswith("malformed_"))


LATENCY = {"p50": float, "p90": float, "p99": float, "p999": float, "max": float, "n": int}
PNL = {"gross": int, "charges": int, "net": int}
SCHEMA = {
    "build": {"layout": str, "compiled": str, "numpy": str},
    "machine": {"cpu": str, "cores": int, "memory_bytes": int, "kernel": str, "python": str},
    "mode": str,
    "duration_s": float,
    "ticks": {
        "received": int, "decoded": int, "published": int, "computed": int, "lost": int, "passed_over": int,
        "unknown_instrument": int,
        "malformed": {name.removeprefix("malformed_"): int for name in COUNTERS["feed"]
                      if name.startswith("malformed_")},
        "checksum": {"decoded": str, "published": str, "computed": str},
        "by_connection": list,
    },
    "bars": int,
    "signals": int,
    "orders": {"intents": int, "refused": dict, "refused_for": dict, "sent": int, "accepted": int,
               "filled": int, "partial_fills": int, "rejected": int, "ambiguous": int, "resolved": int,
               "probes": int, "rejected_for": dict},
    "pnl_paise": {**PNL, "realised": int, "unrealised": int, "by_strategy": dict, "by_product": dict},
    "positions": list,
    "open_at_end": dict,
    "recovery": dict,
    "address_proof": {"word": str, "text": str, "asked": int},
    "state": {"killed": str, "held": dict, "halted": str, "reducing": str, "market_halted": bool,
              "token_dead": bool},
    "latency_us": {name: LATENCY for names in HISTOGRAMS.values() for name in names},
    "memory": {"by process": dict, "shm": dict},
    "cpu": dict,
    "start": dict,
    "restarts": list,
    "alerts": {"by_code": dict, "standing": list, "sinks": dict, "watchdog": dict},
    "fills": dict,
    "placing": dict,
    "egress": dict,
    "absence_horizon_s": float,
}  # fmt: skip
"""report.json: every key, whose values are of that type; those who read it rely on each."""


def misfits(found: object, schema: object, at: str = "report") -> list[str]:
    """What differs from a schema: missing, unknown and renamed keys, values of another type."""
    if isinstance(schema, type):
        return [] if isinstance(found, schema) else [f"{at} is {type(found).__name__}"]
    assert isinstance(schema, dict)
    if not isinstance(found, dict):
        return [f"{at} is {type(found).__name__}"]
    wrong = [f"{at}.{key} is missing" for key in schema if key not in found]
    wrong += [f"{at}.{key} is unknown" for key in found if key not in schema]
    return wrong + [
        m for key in schema if key in found for m in misfits(found[key], schema[key], f"{at}.{key}")
    ]


def test_the_report_has_its_schema_whoever_spoke(readings: Readings) -> None:
    assert misfits(report_of(readings, {}), SCHEMA) == []


@pytest.mark.parametrize("path", [("ticks", "lost"), ("pnl_paise", "net"), ("restarts",), ("latency_us",)])
def test_a_missing_or_renamed_key_is_noticed(readings: Readings, path: tuple[str, ...]) -> None:
    report = report_of(readings, {})
    part = report
    for name in path[:-1]:
        part = part[name]
    part[f"{path[-1]}_renamed"] = part.pop(path[-1])
    assert len(misfits(report, SCHEMA)) == 2


def test_what_a_process_shows_to_nobody_is_left_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    """PSS of others needs what the kernel gives to debuggers; resident memory and CPU do not."""

    def closed(self: psutil.Process) -> None:
        raise psutil.AccessDenied(self.pid)

    memory, cpu = processes({"us": os.getpid()})
    assert memory["us"]["pss"] > 0 < memory["us"]["rss"]
    monkeypatch.setattr(psutil.Process, "memory_full_info", closed)
    memory, cpu = processes({"us": os.getpid()})
    assert memory["us"]["pss"] is None and memory["us"]["rss"] > 0 and cpu["us"]["user_s"] > 0
