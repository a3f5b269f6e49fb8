"""Layer 5, supervisor, cold: where the broker is for this run, and the day's instruments from there.

`mode: sim` starts the simulator beside the engine and takes addresses and session from its ready
line; `paper` reads the real feed while orders go to an exchange inside ORDERS, so that process
gets no token and no address; `live` needs the keys of the configuration.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kite_hft.brokers.kite.wire import websocket_url
from kite_hft.engine.simulator import Simulator, start_simulator
from kite_hft.net.http import fetch
from kite_hft.settings import Settings, is_loopback
from kite_hft.trading.instruments import InstrumentTable, parse_csv


class SessionError(Exception):
    """The run has no usable broker session; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Session:
    """Addresses and keys of one run. `repr` shows no secret."""

    mode: str
    ws_url: str
    api_url: str
    api_key: str
    access_token: str
    simulator: Simulator | None = None
    fills: Mapping[str, Any] = field(default_factory=dict)  # by which rules a simulated exchange fills

    def __repr__(self) -> str:
        return f"Session(mode={self.mode!r}, ws_url={self.ws_url!r}, api_url={self.api_url!r})"

    @property
    def feed_url(self) -> str:
        return websocket_url(self.ws_url, self.api_key, self.access_token)

    def api_config(self) -> dict[str, Any]:
        """What ORDERS gets: in paper mode no token and no host."""
        if self.mode == "paper":
            return {"mode": self.mode}
        return {
            "mode": self.mode,
            "url": self.api_url,
            "api_key": self.api_key,
            "access_token": self.access_token,
        }

    def ended(self) -> bool:
        return self.simulator is not None and self.simulator.process.poll() is not None

    def ended_well(self) -> bool:
        """The simulator ended by itself and in order."""
        return self.simulator is not None and self.simulator.process.poll() == 0

    def close(self) -> None:
        if self.simulator is not None:
            self.simulator.stop()


def open_session(settings: Settings, say: Callable[[str], None]) -> Session:
    """Make the session of a run.

    Raises:
        SessionError, SimulatorFailed: see the classes.
    """
    kite = settings.kite
    if settings.mode == "sim" and not kite.access_token:
        simulator = start_simulator(settings.simulator)
        say(f"simulator listens on {simulator.ws_url} and {simulator.api_url}")
        return Session(
            "sim", simulator.ws_url, simulator.api_url, simulator.api_key, simulator.access_token, simulator,
            fill_parameters(simulator.api_url),
        )  # fmt: skip
    if settings.mode == "sim" and not (is_loopback(kite.ws_url) and is_loopback(kite.api_url)):
        raise SessionError("mode sim talks to loopback addresses only; set mode, or leave kite.* out")
    if settings.mode == "live":
        raise SessionError(
            "mode live is not available in this version: it needs a confirmation at every start that is not "
            "built yet; use sim or paper"
        )
    missing = [key for key in ("api_key", "access_token") if not getattr(kite, key)]
    if missing:
        raise SessionError(f"mode {settings.mode} needs {' and '.join('kite.' + key for key in missing)}")
    fills = fill_parameters(kite.api_url) if settings.mode == "sim" else {}
    return Session(settings.mode, kite.ws_url, kite.api_url, kite.api_key, kite.access_token, fills=fills)


def fill_parameters(api_url: str) -> dict[str, Any]:
    """By which rules the simulator fills orders, for the report; {} where another server answers."""
    try:
        status, body = fetch(f"{api_url}/_sim/stats", timeout_s=5.0)
        found = json.loads(body).get("parameters", {}) if status == 200 else {}
    except (OSError, ValueError, AttributeError):
        return {}
    return dict(found) if isinstance(found, dict) else {}


def day_instruments(session: Session, settings: Settings) -> InstrumentTable:
    """Today's master from the broker, cut to what datafeed.instruments names.

    Raises:
        SessionError: the broker did not answer.
        InstrumentError: the master or a configured name is unusable.
    """
    headers = [
        ("X-Kite-Version", "3"),
        ("Authorization", f"token {session.api_key}:{session.access_token}"),
    ]
    # The simulator adds multiplier and freeze quantity to the list when asked; Kite ignores the query.
    status, body = fetch(f"{session.api_url}/instruments?extended=1", headers)
    if status != 200:
        raise SessionError(f"the instrument list was refused with HTTP {status}: {body[:200]!r}")
    try:
        lines = body.decode().splitlines()
    except UnicodeDecodeError as error:
        raise SessionError(f"the instrument list is no text: {error}") from None
    table = parse_csv(lines, "instrument list")
    if not len(table):
        raise SessionError("the instrument list is empty")
    wanted = settings.datafeed.instruments
    if wanted == "all":
        return table
    rows = [table.resolve(name) for name in dict.fromkeys(wanted)]
    return table.select(rows)
