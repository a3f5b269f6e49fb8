"""Layer 6, by hand, cold: the doctor's table: every check, in the order in which it is shown.

A check is a pure function of the facts (facts.py); what it finds is ok, warn or fail, with the fix.
"""

from __future__ import annotations

from typing import Final

from kite_hft.app.day.doctor import checks_brokers as brokers
from kite_hft.app.day.doctor import checks_day as day
from kite_hft.app.day.doctor import checks_machine as machine
from kite_hft.app.day.doctor import checks_polling as polling
from kite_hft.app.day.facts import Facts
from kite_hft.app.day.finding import Check, Finding

TABLE: Final[tuple[tuple[str, tuple[Check, ...]], ...]] = (
    (
        "Account",
        (
            brokers.vault, brokers.token, brokers.clock, brokers.source, brokers.address, brokers.engine,
            brokers.latch, brokers.broker_switch,
        ),
    ),
    (
        "Day",
        (
            day.mode, day.trades_today, day.calendar, day.masters, day.lists, day.limits, day.loss_limit,
            day.sinks, polling.prices,
        ),
    ),
    (
        "Machine",
        (
            machine.shared_memory, machine.disk, machine.modes, machine.cores, machine.governor,
            machine.huge_pages, machine.memory_lock, machine.realtime, machine.open_files, machine.swap,
            machine.kernel, machine.zone, machine.versions, machine.builds,
        ),
    ),
)  # fmt: skip


def examine(facts: Facts) -> list[tuple[str, list[Finding]]]:
    """Every check's finding, by part."""
    return [(part, [check(facts) for check in checks]) for part, checks in TABLE]


def findings(facts: Facts) -> list[Finding]:
    """All of them in one list."""
    return [found for _, rows in examine(facts) for found in rows]
