"""Layer 6, by hand, cold: all that the doctor looks at, gathered once, as plain values.

The checks (checks.py and its neighbours) are pure functions of these: whatever asks the machine or a broker
stands in gathering.py, machine.py and brokers.py. A part that does not concern the configuration is None or
empty: the simulator that a run starts by itself has no token and no address.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kite_hft.app.day.asking import Skew
from kite_hft.configuring.layers import Origin
from kite_hft.settings import Settings
from kite_hft.trading.sending.address import Proof


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """One broker of the configuration.

    own: a simulator that the run starts itself; loopback: a server of this machine. key, token: whether they
    are given (of the sandbox: its own token). until_ns: when the token ends, epoch ns; said: the vault says
    so, else the broker's rule. status: HTTP status of a harmless read, 0: none came; error: why it was no
    success, "" when it was. who, user_id: whose session it is, as the broker says; wanted: whose it should
    be, by the vault, "": it does not say.
    skew_ns: of the machine's wall clock. registered: addresses that order calls may come from, None: the
    broker does not tell them. source: the configured address that connections leave from, "": the system
    chooses; source_error: why none can. stopped: segments that the account's kill switch at the broker has
    shut, None: he does not tell.
    """

    name: str
    url: str = ""
    orders: bool = False
    own: bool = False
    loopback: bool = False
    key: bool = False
    token: bool = False
    until_ns: int = 0
    until_said: bool = False
    status: int = 0
    error: str = ""
    who: str = ""
    user_id: str = ""
    wanted: str = ""
    skew_ns: Skew | None = None
    registered: tuple[str, ...] | None = None
    proof: Proof | None = None
    source: str = ""
    source_error: str = ""
    stopped: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class KeyFacts:
    """The vault. error: why it could not be used; needed: the configuration leaves keys empty. inline: keys
    and tokens that the configuration has itself, and where each stands: a file, a variable, .env."""

    path: Path | None = None
    exists: bool = False
    needed: bool = False
    opened: bool = False
    error: str = ""
    inline: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileFacts:
    """One path that must not be open to others. mode: its bits, -1: it is not there; written: this program
    writes it, so that it has to be this user's own."""

    what: str
    path: Path
    mode: int
    uid: int
    own_uid: int
    folder: bool = False
    written: bool = True


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine and this user's limits. -1: no limit, or not known."""

    cores: int = 0
    cores_online: int = 0
    governors: tuple[str, ...] = ()
    clocksource: str = ""
    synchronised: bool | None = None
    clock_error_us: int = 0
    zone: str = ""
    zone_shifts: bool = False  # it has summer time
    shm_free: int = 0
    shm_tmpfs: bool = True
    shm_huge: str = ""
    memlock: int = -1
    realtime: int = 0
    files_soft: int = 0
    files_hard: int = 0
    swap_total: int = 0
    swap_used: int = 0
    swappiness: int = -1
    memory_free: int = 0
    settings: Mapping[str, str] = field(default_factory=dict)  # kernel settings by their path below /proc/sys
    thp_defrag: str = ""
    addresses: tuple[str, ...] = ()
    kernel: str = ""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """The state directory's file system. free: bytes; files_free: files that it can still hold, -1: it has no
    such limit."""

    path: Path
    kind: str = ""
    free: int = 0
    writable: bool = True
    files_free: int = -1


@dataclass(frozen=True, slots=True)
class RulesFacts:
    """The dated files. error: why one cannot be used; from_: valid_from of the broker's limits."""

    path: Path
    from_: dt.date | None = None
    loopback_only: bool = False
    orders_per_day: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class MasterFacts:
    """The instruments. rows: of the whole lists; chosen: of the run; own: they come with the simulator that
    the run starts; age_s: of the oldest list; untradable: of the chosen ones; repeated: lists that are an
    earlier day's, in words."""

    rows: int = 0
    chosen: int = 0
    own: bool = False
    error: str = ""
    age_s: float = 0.0
    untradable: int = 0
    repeated: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CalendarFacts:
    """The traded day and the next ones. days: (date, exchanges that trade); uncovered: (date, what no row of
    the calendar covers), in order. against: where Upstox's holidays say otherwise, hours_against: where its
    hours do; against None: it was not asked, or tells of another year. unreachable: why it could not be.
    by_hours: nothing was looked at, for the configuration has hours of its own for any day. early_end: why
    the start refuses these."""

    days: tuple[tuple[dt.date, tuple[str, ...]], ...] = ()
    uncovered: tuple[tuple[dt.date, str], ...] = ()
    against: tuple[str, ...] | None = None
    hours_against: tuple[str, ...] = ()
    unreachable: str = ""
    by_hours: bool = False
    early_end: str = ""


@dataclass(frozen=True, slots=True)
class ListFacts:
    """The daily lists. needed: the market is a real one."""

    needed: bool = False
    folder: Path = Path("lists")
    found: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    error: str = ""


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """The package. modules: how many are compiled; mixed: those that do not belong to the others. differing:
    packages that are not as locked ("name 1.0, locked 1.1")."""

    python: str = ""
    supported: bool = True
    lock: Path | None = None
    differing: tuple[str, ...] = ()
    modules: int = 0
    missing: tuple[str, ...] = ()
    mixed: tuple[str, ...] = ()
    build: str = ""


@dataclass(frozen=True, slots=True)
class SinkFacts:
    """Alert sinks: those that are configured, and (when they were tried) name -> "" or what is wrong."""

    configured: tuple[str, ...] = ()
    tried: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. shm_needed: bytes of the plan, 0: it could not be made (plan_error says why)."""

    settings: Settings
    config: Path
    now_ns: int
    day: dt.date
    brokers: tuple[BrokerFacts, ...] = ()
    keys: KeyFacts = KeyFacts()
    files: tuple[FileFacts, ...] = ()
    machine: MachineFacts = MachineFacts()
    disk: DiskFacts = DiskFacts(Path("/"))
    rules: tuple[RulesFacts, ...] = ()
    master: MasterFacts = MasterFacts()
    calendar: CalendarFacts = CalendarFacts()
    lists: ListFacts = ListFacts()
    build: BuildFacts = BuildFacts()
    sinks: SinkFacts = SinkFacts()
    shm_needed: int = 0
    hot: int = 0  # processes of the plan that want a core of their own
    plan_error: str = ""
    engine_pid: int = 0  # of an engine that holds the account
    engine_login_pid: int = 0  # of one that has the same login under another account name
    latched: str = ""  # why the account is killed
    polled: tuple[str, ...] = ()  # what is to be said of prices by HTTP
    segments: tuple[str, ...] = ()  # that the run's instruments trade in, by Upstox's names
    not_live: str = ""  # why mode live would refuse this configuration

    @property
    def live(self) -> bool:
        return self.settings.mode == "live"

    @property
    def orders(self) -> BrokerFacts | None:
        """The order broker; None: orders go to an exchange inside the engine."""
        return next((broker for broker in self.brokers if broker.orders), None)
