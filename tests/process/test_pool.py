"""The full pool for a few seconds, with the configuration that users get."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from kite_hft.settings import load_settings
from kite_hft.sim.market.universe import default_instruments
from kite_hft.verify.prices import busy, pool

WITH_SPARES = True


@pytest.mark.parametrize(
    ("broker", "file", "ticks_per_s"), [("kite", "pool.yaml", 18_000), ("upstox", "pool_upstox.yaml", 8_000)]
)
def test_the_pools_configuration(broker: str, file: str, ticks_per_s: int) -> None:
    of = pool.POOLS[broker]
    settings = load_settings(pool.ROOT / "config" / file)
    assert of.config == file
    assert settings.simulator.instruments == of.instruments and settings.datafeed.mode == "full"
    assert settings.broker == broker and settings.simulator.rate * of.instruments == ticks_per_s
    assert settings.strategies[0].copies == "per_connection"
    table, _ = default_instruments(of.instruments, settings.simulator.seed)
    lots = {row.lot_size for row in table if not row.is_index}
    quantity = settings.strategies[0].params["quantity"]
    assert 75 in lots and not any(quantity % lot for lot in lots), "orders of no whole lots are refused here"


@pytest.mark.parametrize(("broker", "wanted"), [("kite", [3000] * 3), ("upstox", [2000] * 2)])
def test_all_instruments_on_all_connections(
    capsys: pytest.CaptureFixture[str], broker: str, wanted: list[int]
) -> None:
    """And one more of either is refused before anything connects."""
    code = pool.main(["--broker", broker, "--duration", "4", "--late", "60"])
    result = json.loads(capsys.readouterr().out)
    assert not result["no_verdict"] and result["simulator_waited_s"] >= 0
    assert code == 0, result["wrong"]
    assert result["paced_ticks"] >= 0.99 * sum(wanted) * 8
    market = [c["instruments"] for c in result["by_connection"] if not c["orders_only"]]
    assert market == wanted
    more, ways = result["refused_before_connecting"]
    assert f"{sum(wanted) + 1:,} instruments" in more and f"connections is {len(wanted) + 1}" in ways


def test_what_is_refused_before_it_connects() -> None:
    said = "2 connections of 2,000 carry 4,000"
    assert not pool.Refusal(2, said, 0).miss("2,000")
    assert "exit 0" in pool.Refusal(0, said, 0).miss("2,000")
    assert "3 tries" in pool.Refusal(2, said, 3).miss("2,000")
    assert pool.Refusal(2, "no such file", 0).miss("2,000")


def done(**changes: object) -> pool.Done:
    connections = [{"connects": 1}] * 3 + [{"connects": 2, "orders_only": True}]
    stats = {"ticks": 1_100_000, "snapshot_ticks": 20_000, "max_delay_ns": 1_000_000}
    report = {"ticks": {"by_connection": connections}, "restarts": []}
    return pool.Done(stats | changes.get("stats", {}), report | changes.get("report", {}), 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"stats": {"ticks": 1_080_000}}, ["sent 1,060,000 of 1,080,000"]),
        ({"report": {"restarts": [{"process": "feed-0"}]}}, ["restarts"]),
        ({"report": {"ticks": {"by_connection": [{"connects": 2}] * 3}}}, ["each made once"]),
        ({"report": {"ticks": {"by_connection": [{"connects": 1}] * 2}}}, ["not 3 connections"]),
    ],
)
def test_what_counts_as_a_miss(changes: dict, said: list[str]) -> None:
    mb = 1_000_000
    memory = pool.Memory(
        60,
        early={"a": (100 * mb, 50 * mb), "b": (100 * mb, 50 * mb)},
        last={"a": (102 * mb, 90 * mb), "b": (200 * mb, 51 * mb)},
    )
    wrong = pool.misses(pool.parser().parse_args([]), done(**changes), memory)
    assert len(wrong) == len(said) and all(words in line for words, line in zip(said, wrong, strict=True))


def waited(seconds: float) -> busy.Waits:
    return busy.Waits(first_ns=5, last_ns=5 + round(seconds * 1e9))


def test_lateness_is_the_machines_or_the_simulators() -> None:
    options = pool.parser().parse_args([])
    assert pool.allowed_s(options) == pytest.approx(0.6)
    assert pool.latest_s({"max_delay_ns": 700_000_000}) == pytest.approx(0.7)
    assert busy.lateness(0.6, 0.6, waited(9)) == ("", "")
    wrong, no_verdict = busy.lateness(0.7, 0.6, waited(0.6))
    assert "0.700 s after its time" in wrong and not no_verdict
    wrong, no_verdict = busy.lateness(0.7, 0.6, waited(0.8))
    assert not wrong and "too busy: no verdict" in no_verdict
    assert busy.lateness(0.7, 0.6, busy.Waits())[0]  # nothing is known of the machine


def test_what_the_kernel_says_of_waiting(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    waits = busy.Waits(tmp_path)
    waits.look(7)
    assert waits.seconds == 0
    for ready_ns, stolen in ((10**9, 50), (3 * 10**9, 50), (3 * 10**9, 50 + 2 * os.sysconf("SC_CLK_TCK"))):
        (tmp_path / "7/schedstat").write_text(f"123 {ready_ns} 4\n")
        (tmp_path / "stat").write_text(f"cpu 1 2 3 4 5 6 7 {stolen} 0 0\ncpu0 1\n")
        waits.look(7)
    assert waits.seconds == pytest.approx(4.0)
    (tmp_path / "7/schedstat").unlink()
    waits.look(7)
    assert waits.seconds == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("more", "code"),
    [({}, 0), ({"no_verdict": "too busy"}, 3), ({"no_verdict": "too busy", "wrong": ["lost 7"]}, 1)],
)
def test_a_run_without_a_verdict_is_neither_good_nor_bad(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], more: dict, code: int
) -> None:
    monkeypatch.setattr(pool, "run", lambda options, folder: {"wrong": [], "no_verdict": ""} | more)
    assert pool.main([]) == code
    said = capsys.readouterr()
    assert ("too busy" in said.err) == bool(more.get("no_verdict"))
    assert ("replay" in json.loads(said.out)) == (code == 1)


def test_a_late_simulators_memory_is_not_judged() -> None:
    """Nor that of one that has not settled."""
    options = pool.parser().parse_args(["--duration", "120", "--rate", "1"])
    both = {"simulator": (70_000_000, 70_000_000), "orders": (50_000_000, 50_000_000)}
    memory = pool.Memory(
        60, early=both, last={name: (a + 3_000_000, b + 3_000_000) for name, (a, b) in both.items()}
    )
    assert len(pool.misses(options, done(), memory)) == 2
    (only,) = pool.misses(options, done(), memory, busy=True)
    assert "orders grew" in only
    short = pool.parser().parse_args([])
    assert ["orders grew" in word for word in pool.misses(short, done(), memory)] == [True]
    unseen = pool.Memory(60, early=both)
    assert pool.misses(options, done(), unseen) and not pool.misses(options, done(), unseen, busy=True)


def test_memory_that_grows_or_processes_that_change_are_a_miss() -> None:
    options = pool.parser().parse_args([])
    early = {"a": (100_000_000, 50_000_000)}
    grown = pool.Memory(60, early=early, last={"a": (102_100_000, 51_100_000)})
    assert "a grew" in pool.misses(options, done(), grown)[0]
    small = pool.Memory(60, early={"a": (12_000_000, 12_000_000)}, last={"a": (12_524_000, 12_524_000)})
    assert not pool.misses(options, done(), small)
    small.last["a"] = 12_525_000, 12_525_000
    assert "a grew" in pool.misses(options, done(), small)[0]
    assert not pool.misses(pool.parser().parse_args(["--duration", "20"]), done(), grown)
    assert pool.misses(options, done(), pool.Memory(60, early={"a": (1, 1)}, last={"b": (1, 1)}))
    assert pool.misses(options, done(), pool.Memory(60))
