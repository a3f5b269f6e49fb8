"""The full pool for a few seconds, with the configuration that users get."""

from __future__ import annotations

import json

import pytest

from kite_hft.settings import load_settings
from kite_hft.verify.prices import pool


def test_the_pools_configuration() -> None:
    settings = load_settings(pool.ROOT / "config/pool.yaml")
    assert settings.simulator.instruments == pool.INSTRUMENTS and settings.datafeed.mode == "full"
    assert settings.simulator.rate * settings.simulator.instruments == 18_000
    assert settings.strategies[0].copies == "per_connection"


def test_nine_thousand_instruments_on_three_connections(capsys: pytest.CaptureFixture[str]) -> None:
    code = pool.main(["--duration", "6", "--late", "60"])
    result = json.loads(capsys.readouterr().out)
    assert code == 0, result["wrong"]
    assert result["paced_ticks"] >= 0.99 * 108_000
    assert [c["instruments"] for c in result["by_connection"]] == [3000] * 3


def done(**changes: object) -> pool.Done:
    connections = [{"connects": 1}] * 3
    stats = {"ticks": 1_100_000, "snapshot_ticks": 20_000, "max_delay_ns": 1_000_000}
    report = {"ticks": {"by_connection": connections}, "restarts": []}
    return pool.Done(True, stats | changes.get("stats", {}), report | changes.get("report", {}))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, []),
        ({"stats": {"ticks": 1_080_000}}, ["sent 1,060,000 of 1,080,000"]),
        ({"stats": {"max_delay_ns": 700_000_000}}, ["0.700 s after its time"]),
        ({"report": {"restarts": [{"process": "feed-0"}]}}, ["restarts"]),
        ({"report": {"ticks": {"by_connection": [{"connects": 2}] * 3}}}, ["each made once"]),
        ({"report": {"ticks": {"by_connection": [{"connects": 1}] * 2}}}, ["not 3 connections"]),
    ],
)
def test_what_counts_as_a_miss(changes: dict, said: list[str]) -> None:
    memory = pool.Memory(
        60, early={"a": (1000, 500), "b": (1000, 500)}, last={"a": (1020, 900), "b": (2000, 510)}
    )
    wrong = pool.misses(pool.parser().parse_args([]), done(**changes), memory)
    assert len(wrong) == len(said) and all(words in line for words, line in zip(said, wrong, strict=True))


def test_memory_that_grows_or_processes_that_change_are_a_miss() -> None:
    options = pool.parser().parse_args([])
    grown = pool.Memory(60, early={"a": (1000, 500)}, last={"a": (1021, 511)})
    assert "a grew" in pool.misses(options, done(), grown)[0]
    assert not pool.misses(pool.parser().parse_args(["--duration", "20"]), done(), grown)
    assert pool.misses(options, done(), pool.Memory(60, early={"a": (1, 1)}, last={"b": (1, 1)}))
    assert pool.misses(options, done(), pool.Memory(60))
