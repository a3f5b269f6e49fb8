"""Layer 5, supervisor, cold: the simulator process that `mode: sim` starts beside the engine."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from kite_hft.configuring.models.market import SimulatorSection

READY_S: Final = 60.0


class SimulatorFailed(Exception):
    """The simulator did not come up; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Simulator:
    """A running simulator and where it listens."""

    process: subprocess.Popen[str]
    ws_url: str
    api_url: str
    api_key: str
    access_token: str

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process.stdin:
            self.process.stdin.close()
        if self.process.stdout:
            self.process.stdout.close()


def command(
    section: SimulatorSection, broker: str = "kite", more: Sequence[str] = (), *, waits: bool = True
) -> list[str]:
    """The simulator's command line. more: options of this broker alone. waits: its market begins with the
    first subscription; False: at once."""
    arguments = [sys.executable, "-m", "kite_hft.sim", "--broker", broker, "--port", "0"]
    arguments += ["--seed", str(section.seed), "--cash", str(section.cash)]
    arguments += ["--packets-per-frame", str(section.packets_per_frame)]
    if section.replay is None:
        arguments += ["--instruments", str(section.instruments), "--rate", str(section.rate)]
    else:
        arguments += ["--replay", str(section.replay), "--speed", str(section.speed)]
    if section.exchange_time is not None:
        arguments += ["--exchange-time", section.exchange_time]
    arguments += ["--hours", section.hours]
    if section.latency_us is not None:
        arguments += ["--latency-us", str(section.latency_us)]
    if section.faults is not None:
        arguments += ["--faults", str(section.faults)]
    waiting = ["--start-when-subscribed"] if waits else []
    return [*arguments, *more, *waiting, "--die-with-parent"]


def start_simulator(
    section: SimulatorSection, broker: str = "kite", more: Sequence[str] = (), *, waits: bool = True
) -> Simulator:
    """Start it and wait for its `ready` line.

    Raises:
        SimulatorFailed: it ended or said nothing in time.
    """
    began_s = time.monotonic()
    process = subprocess.Popen(
        command(section, broker, more, waits=waits),
        stdin=subprocess.PIPE,  # its end of this pipe closes when we die: --die-with-parent
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    told = _await_ready(process)
    if told:
        return Simulator(process, told["ws"], told["api"], told["api_key"], told["access_token"])
    if time.monotonic() - began_s >= READY_S:
        raise SimulatorFailed(
            f"the simulator was not ready within {READY_S:.0f} s and was ended: a long recording takes that "
            "long on a busy machine; try again when it is quiet, or replay fewer files"
        )
    raise SimulatorFailed(f"the simulator ended before it was ready (exit code {process.returncode})")


def _await_ready(process: subprocess.Popen[str]) -> dict[str, str]:
    """What the `ready` line says; {} when it never came: the process has ended then."""
    assert process.stdout is not None
    deadline = time.monotonic() + READY_S
    told: dict[str, str] = {}
    try:
        while not told and time.monotonic() < deadline:
            readable, _, _ = select.select([process.stdout], [], [], 0.2)
            line = process.stdout.readline() if readable else ""
            if line.startswith("ready "):
                told = dict(word.split("=", 1) for word in line.split()[1:])
            elif not line and (readable or process.poll() is not None):
                break
    finally:  # a stop may be asked for meanwhile
        if not told:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
    return told
