"""What the tests of doctor and morning share: facts of a machine and an account with which all is well."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

from kite_hft.app.day.facts import (
    BrokerFacts,
    BuildFacts,
    CalendarFacts,
    DiskFacts,
    Facts,
    FileFacts,
    KeyFacts,
    ListFacts,
    MachineFacts,
    MasterFacts,
    RulesFacts,
    SinkFacts,
)
from kite_hft.app.day.opening import Opened
from kite_hft.settings import Settings
from kite_hft.trading.instruments import InstrumentTable

DAY = dt.date(2026, 11, 20)
NOW_NS = 1_795_147_200_000_000_000  # 2026-11-20 09:30 IST
HOUR_NS = 3600 * 10**9
MIB = 1 << 20


def settings(**values: Any) -> Settings:
    """A live configuration on which nothing is amiss."""
    data: dict[str, Any] = {
        "mode": "live", "account": "AB1234",
        "risk": {"max_daily_loss": 5000.0},
        "alerts": {"webhook": "https://example.com/hook"},
    }  # fmt: skip
    for key, value in values.items():
        data[key] = {**data.get(key, {}), **value} if isinstance(value, dict) else value
    return Settings.model_validate(data)


def broker(**values: Any) -> BrokerFacts:
    """The order broker, whose token is good."""
    good = BrokerFacts(
        "kite", "https://api.kite.trade", orders=True, key=True, token=True, until_ns=NOW_NS + 20 * HOUR_NS,
        status=200, who="A B", skew_ns=(-10**7, 10**7),
    )  # fmt: skip
    return replace(good, **values)


def machine(**values: Any) -> MachineFacts:
    """A machine that has everything."""
    good = MachineFacts(
        cores=8, cores_online=8, governors=("performance",), clocksource="tsc", synchronised=True,
        clock_error_us=900, zone="Asia/Kolkata", shm_free=8 << 30, memory_free=16 << 30, shm_huge="advise",
        realtime=99, files_soft=65536, files_hard=65536, swappiness=1,
        settings={"kernel/numa_balancing": "0", "vm/zone_reclaim_mode": "0", "vm/overcommit_memory": "0"},
        thp_defrag="madvise", addresses=("203.0.113.7",), kernel="6.8",
    )  # fmt: skip
    return replace(good, **values)


def facts(**values: Any) -> Facts:
    """Facts with which every check says ok."""
    good = Facts(
        settings=settings(),
        config=Path("config.yaml"),
        now_ns=NOW_NS,
        day=DAY,
        brokers=(broker(registered=("203.0.113.7",)),),
        keys=KeyFacts(Path("/v/credentials.vault"), True, True, opened=True),
        files=(FileFacts("vault", Path("/v/credentials.vault"), 0o600, 1000, 1000),),
        machine=machine(),
        disk=DiskFacts(Path("/var/lib/x"), "ext4", 50_000 * MIB),
        rules=(RulesFacts(Path("kite_2026-04-01.yaml"), dt.date(2026, 4, 1), orders_per_day=5000),),
        master=MasterFacts(136_000, 50, age_s=1800.0),
        calendar=CalendarFacts(((DAY, ("NSE",)), (dt.date(2026, 11, 23), ("NSE",))), against=()),
        lists=ListFacts(True, Path("lists"), ("fo_ban", "mis_blocked")),
        build=BuildFacts("3.11.7", True, Path("locks/runtime.txt"), (), 29, build="db7d48f9c4a731e7"),
        sinks=SinkFacts(("webhook",)),
        shm_needed=64 * MIB,
        hot=3,
    )
    return replace(good, **values)


def opened_with(folder: Path, **values: Any) -> Opened:
    """A day that was opened without instruments and without a vault."""
    return Opened(
        settings(**values), folder / "config.yaml", folder, NOW_NS, DAY, KeyFacts(), {}, None,
        InstrumentTable(()), "no lists", (0,), None,
    )  # fmt: skip
