"""Cold: the profiles, and from the command line's flags to one Load."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Reach:
    """What a broker streams to one user: connections, and instruments on one by mode. profiles: name -> what
    of a profile is another than Kite's."""

    name: str
    connections: int
    per_connection: Mapping[str, int]
    profiles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


KITE: Final = Reach("Kite", 3, {"ltp": 3000, "quote": 3000, "full": 3000})
_POOL: Final = "4,000 keys on 2 connections, 8,000 ticks/s"
UPSTOX: Final = Reach(
    "Upstox", 2, {"ltpc": 5000, "option_greeks": 3000, "full": 2000},
    {
        "pool": {"instruments": 4000, "says": f"{_POOL}; the rest as with Kite"},
        "burst": {"instruments": 4000, "says": "all 4,000 keys tick in one instant, every second"},
        "flood": {"instruments": 4000},
        "soak": {"instruments": 4000},
    },
)  # fmt: skip
"""Keys of an account whose limits hold on each connection (upstox.keys_counted), as long as one mode is in
use: market data feed V3 page."""
REACHES: Final = {"kite": KITE, "upstox": UPSTOX}
LOOPBACK_INSTRUMENTS_MAX: Final = 50_000
LOOPBACK_CONNECTIONS_MAX: Final = 16
DURATION_MAX_S: Final = 18_000.0
"""The market that is played opens at 10:00 and closes at 15:30."""


class LoadError(Exception):
    """The flags do not fit together; the message says what would."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is run. rate: ticks a second and instrument (flood: where the search begins; 0: by itself).

    strategy: kalman_simple, probe or none. every: a PROBE each so many ticks. limits: the loopback-only
    rules file. wait, packing, pin: the engine's performance keys, "" and {}: as they are by default.
    """

    profile: str
    says: str
    instruments: int
    duration_s: float
    rate: float
    broker: str = "kite"
    connections: int | None = None
    packets: int = 30
    mode: str = "full"
    strategy: str = "kalman_simple"
    strategies: int = 1
    every: int = 100
    threshold: float = 0.05
    warmup: int = 50
    warm_s: float = 2.0
    burst: bool = False
    search: bool = False
    bare: bool = False
    memory_s: float = 0.0  # how often memory is sampled; 0: at the end
    limits: str = ""
    packing: str = "auto"
    wait: str = "auto"
    seed: int = 1

    @property
    def ticks_per_s(self) -> float:
        return self.instruments * self.rate

    @property
    def is_as_shipped(self) -> bool:
        """Whether instruments, rate and frames are the profile's own."""
        own = profile(self.profile, self.broker)
        return (own.instruments, own.rate, own.packets, own.mode) == (
            self.instruments, self.rate, self.packets, self.mode,
        )  # fmt: skip

    def described(self) -> str:
        """What is sent, in words."""
        rate = "at once, every second" if self.burst and self.rate == 1 else f"{self.rate:g} times a second"
        much = f"{rate} ({self.ticks_per_s:,.0f} ticks/s)" if not self.search else "as often as it is taken"
        return f"{self.instruments:,} instruments {much}, {self.packets} packets a frame, mode {self.mode}"

    @property
    def connection_count(self) -> int:
        per = LOOPBACK_INSTRUMENTS_MAX if self.limits else REACHES[self.broker].per_connection[self.mode]
        return self.connections or -(-self.instruments // per)


PROFILES: Final = {
    load.profile: load
    for load in (
        Load(
            "reference", "1,000 instruments, 2 ticks a second each, for a minute; the strategy trades",
            1000, 60.0, 2.0, threshold=0.0005, warmup=10,
        ),
        Load(
            "pool", "9,000 instruments on 3 connections, 18,000 ticks/s in evenly spaced frames of 30; "
            "a probe every 100th tick; then a bare picows receiver at the same frames and gaps",
            9000, 60.0, 2.0, strategy="probe", bare=True,
        ),
        Load(
            "burst", "all 9,000 instruments tick in one instant, every second",
            9000, 60.0, 1.0, strategy="probe", burst=True,
        ),
        Load(
            "flood", "search for the highest rate at which nothing is lost and no backlog grows",
            3000, 20.0, 0.0, packets=100, search=True, warm_s=0.7,
        ),
        Load(
            "soak", "the pool's load for an hour; memory each 10 s, its slope by least squares",
            9000, 3600.0, 2.0, memory_s=10.0, warm_s=20.0,
        ),
    )
}  # fmt: skip


def profile(name: str, broker: str) -> Load:
    """A profile as it is with a broker."""
    return replace(PROFILES[name], broker=broker, **REACHES[broker].profiles.get(name, {}))


def resolved(options: argparse.Namespace) -> Load:
    """The profile with what the command line changes.

    Raises:
        LoadError: what is asked for cannot be run.
    """
    load = profile(options.profile, options.broker)
    given = {
        "instruments": options.instruments, "duration_s": options.duration, "rate": options.rate,
        "connections": options.connections, "packets": options.packets_per_frame, "mode": options.mode,
        "strategy": options.strategy, "every": options.probe_every, "warm_s": options.warm_up,
        "packing": options.packing, "wait": options.wait, "seed": options.seed, "bare": options.bare,
        "limits": options.limits, "strategies": options.strategies,
    }  # fmt: skip
    load = replace(load, **{name: value for name, value in given.items() if value is not None})
    check(load)
    return load


def check(load: Load) -> None:
    """Say what does not fit.

    Raises:
        LoadError: with the flag, what was found, and what to do.
    """
    reach = REACHES[load.broker]
    if load.mode not in reach.per_connection:
        raise LoadError(f"--mode {load.mode}: {reach.name} has {', '.join(reach.per_connection)}")
    per = reach.per_connection[load.mode]
    most = LOOPBACK_INSTRUMENTS_MAX if load.limits else per * reach.connections
    if not 1 <= load.instruments <= most:
        more = "" if load.limits else f"; --limits loopback allows {LOOPBACK_INSTRUMENTS_MAX:,}"
        raise LoadError(
            f"--instruments {load.instruments:,}: between 1 and {most:,} ({reach.name}'s {reach.connections} "
            f"connections of {per:,} in mode {load.mode}){more}"
        )
    ways = LOOPBACK_CONNECTIONS_MAX if load.limits else reach.connections
    if load.connections is not None and not 1 <= load.connections <= min(ways, load.instruments):
        more = "" if load.limits else f"; --limits loopback allows {LOOPBACK_CONNECTIONS_MAX}"
        raise LoadError(f"--connections {load.connections}: 1 to {ways}, each with an instrument{more}")
    if load.connections and not load.limits and load.connections * per < load.instruments:
        raise LoadError(
            f"--connections {load.connections} carry {load.connections * per:,} instruments, not "
            f"{load.instruments:,}: leave the flag out or ask for {-(-load.instruments // per)}"
        )
    if not 0.5 <= load.duration_s <= DURATION_MAX_S:
        raise LoadError(f"--duration {load.duration_s:g}: between 0.5 and {DURATION_MAX_S:,.0f} seconds")
    if load.rate < 0 or load.rate > 1e6 or (load.rate == 0 and not load.search):
        raise LoadError(f"--rate {load.rate:g}: ticks a second and instrument, above 0")
    if not 1 <= load.packets <= 3000:
        raise LoadError(f"--packets-per-frame {load.packets}: between 1 and 3000")
    if not 0 <= load.strategies <= 64:
        raise LoadError(f"--strategies {load.strategies}: 0 to 64")
    if load.every < 1:
        raise LoadError(f"--probe-every {load.every}: at least 1")
    if load.bare and load.mode != "full":
        raise LoadError("--bare compares by the send stamp, which only --mode full has room for")
    if load.warm_s < 0:
        raise LoadError(f"--warm-up {load.warm_s:g}: 0 or more seconds")
