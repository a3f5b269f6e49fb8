"""The command line of the simulator that `mode: sim` starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.engine.plan import simulator
from kite_hft.engine.plan.simulator import SimulatorFailed, command, start_simulator
from kite_hft.settings import SimulatorSection
from kite_hft.sim.__main__ import parser


def test_every_setting_reaches_the_simulator() -> None:
    section = SimulatorSection(
        instruments=7, rate=3, cash=5, seed=9, packets_per_frame=2, exchange_time="2026-11-20T10:00:00",
        hours="exchange", latency_us=250, faults=Path("/somewhere/faults.yaml"),
    )  # fmt: skip
    options = parser().parse_args(command(section)[3:])
    assert (options.instruments, options.rate, options.cash, options.seed) == (7, 3.0, 5, 9)
    assert (options.packets_per_frame, options.hours, options.latency_us) == (2, "exchange", 250)
    assert options.faults == section.faults and options.exchange_time and options.die_with_parent


def test_what_is_not_set_is_left_to_the_simulator() -> None:
    options = parser().parse_args(command(SimulatorSection())[3:])
    assert (options.hours, options.latency_us, options.faults) == ("always", None, None)


def test_one_that_takes_too_long_is_said_to_be_that(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulator, "READY_S", 0.0)
    with pytest.raises(SimulatorFailed, match="not ready within 0 s and was ended"):
        start_simulator(SimulatorSection())


def test_a_fault_file_that_is_wrong_stops_the_start(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "faults.yaml").write_text("- {kind: dropp}\n")
    with pytest.raises(SimulatorFailed):
        start_simulator(SimulatorSection(faults=tmp_path / "faults.yaml"))
    assert "did you mean 'drop'?" in capfd.readouterr().err
