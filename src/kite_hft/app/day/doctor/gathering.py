"""Layer 6, by hand, cold: the doctor's facts, gathered in one place: files, machine, brokers, plan.

Whatever cannot be had becomes a text in the facts, never an exception: a doctor who falls ill helps nobody.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path
from typing import Final

from kite_hft.app.day.brokers import accesses, ask_broker, may_ask_upstox
from kite_hft.app.day.doctor.building import build_facts
from kite_hft.app.day.doctor.calendars import asked, coverage
from kite_hft.app.day.doctor.machine import disk_facts, file_facts, machine_facts
from kite_hft.app.day.facts import (
    BrokerFacts,
    CalendarFacts,
    Facts,
    FileFacts,
    ListFacts,
    MasterFacts,
    RulesFacts,
    SinkFacts,
)
from kite_hft.app.day.opening import Opened
from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.configuring.layers import IN_DOTENV, Origin
from kite_hft.configuring.models.broker import rules_of
from kite_hft.engine.alerts.sinks.trials import try_sinks
from kite_hft.engine.confirming import check_live
from kite_hft.engine.orders.latch import read_latch
from kite_hft.engine.orders.market_facts import lists_of_day, rules_of_day
from kite_hft.engine.orders.own_hours import refuse_early_end
from kite_hft.engine.orders.settings import charges_of_day
from kite_hft.engine.plan.launch import SNAPSHOT_ROOM, wanted_slots
from kite_hft.engine.plan.placing import is_hot
from kite_hft.engine.plan.plan import Plan, PlanError, make_plan
from kite_hft.engine.plan.rooms import polled_lines, rooms_of
from kite_hft.engine.plan.session import Session, configured
from kite_hft.engine.runs.run_folder import account_tag, login_of
from kite_hft.engine.runs.runs import lock_holder, shared_home
from kite_hft.memory.segment import segment_bytes
from kite_hft.sessions import ist_date
from kite_hft.settings import DOTENV, Settings, SettingsError, load_yaml
from kite_hft.strategies.registry import UnknownStrategy
from kite_hft.trading.instruments import InstrumentError
from kite_hft.trading.lists.masters import why_not_tradable

SINKS: Final = ("hook", "webhook", "telegram_bot_token", "journald")
SHARES: Final = ("NSE", "BSE")
"""Exchanges whose calendar counts when nothing is known of the instruments."""


def gather(opened: Opened, *, prove: bool, test_alerts: bool) -> Facts:
    """Everything that the checks look at. prove: with the cancel of an order that cannot exist, at the
    broker; test_alerts: with a test through every sink."""
    settings, now_ns, home = opened.settings, opened.now_ns, shared_home()
    needed, hot, plan_error = planned(opened)
    latch = read_latch(opened.account)
    tag, login = account_tag(settings.broker, settings.account), login_lock(settings)
    return Facts(
        settings=settings,
        config=opened.config,
        now_ns=now_ns,
        day=opened.day,
        brokers=broker_facts(opened, prove=prove),
        keys=opened.keys,
        files=files_of(opened),
        machine=machine_facts(),
        disk=disk_facts(opened.root),
        rules=rules_facts(settings, opened),
        master=master_facts(opened),
        calendar=calendar_facts(opened),
        lists=list_facts(settings, now_ns),
        build=build_facts(),
        sinks=SinkFacts(
            tuple(name for name in SINKS if getattr(settings.alerts, name)),
            try_sinks(settings) if test_alerts else None,
        ),
        shm_needed=needed,
        hot=hot,
        plan_error=plan_error,
        engine_pid=lock_holder(home / f"{tag}.lock"),
        engine_login_pid=lock_holder(home / login) if login else 0,
        latched=latch.reason if latch else "",
        not_live=not_live(settings, now_ns),
        polled=polled_said(opened),
        segments=segments_of(opened),
    )


def not_live(settings: Settings, now_ns: int) -> str:
    """Why mode live would refuse this configuration; "": it would not, or it is another mode."""
    try:
        check_live(settings, now_ns)
    except SettingsError as error:
        return str(error)
    return ""


def polled_said(opened: Opened) -> tuple[str, ...]:
    """What the engine will say of prices by HTTP; (): nothing, or why not is told by the plan."""
    if opened.no_masters or (opened.masters is None and not len(opened.chosen)):
        return ()
    try:
        return tuple(polled_lines(opened.settings, opened.chosen))
    except (PlanError, SettingsError, InstrumentError):
        return ()


def segments_of(opened: Opened) -> tuple[str, ...]:
    """Upstox's names of the segments in which the run's instruments trade."""
    keys = (row.upstox_key for row in opened.chosen if row.upstox_key and not row.is_index)
    return tuple(sorted({key.partition("|")[0] for key in keys}))


def login_lock(settings: Settings) -> str:
    """The file that stands for the login of a run (engine/runs/run_folder.py); "": it has none."""
    login = login_of(settings)
    return f"{settings.broker}-login-{hashlib.sha256(login.encode()).hexdigest()[:16]}.lock" if login else ""


def broker_facts(opened: Opened, *, prove: bool) -> tuple[BrokerFacts, ...]:
    """All brokers of the configuration, asked one after the other."""
    settings = opened.settings
    return tuple(
        ask_broker(settings, access, opened.contents, opened.now_ns, orders=orders, prove=prove)
        for access, orders in accesses(settings)
    )


def files_of(opened: Opened) -> tuple[FileFacts, ...]:
    """What must be open to nobody else: the vault, the state directory, every file with keys in it."""
    found = [file_facts("account's folder", opened.account)]
    if opened.keys.path is not None and opened.keys.exists:
        found += [
            file_facts("vault", opened.keys.path),
            file_facts("vault's folder", opened.keys.path.parent),
        ]
    for path in dict.fromkeys(map(file_of, opened.keys.inline.values())):
        if path is not None:
            found.append(file_facts("configuration with keys in it", path, written=False))
    return tuple(row for row in found if row.mode >= 0)


def file_of(origin: Origin) -> Path | None:
    """The file that a value stands in; None: it is a variable of the environment."""
    if origin.source.endswith(IN_DOTENV):
        return DOTENV
    return Path(origin.source) if origin.line else None


def planned(opened: Opened) -> tuple[int, int, str]:
    """(bytes of shared memory that the run takes, processes that want a core, why there is no plan)."""
    try:
        plan, instruments = plan_of(opened)
    except (PlanError, SettingsError, InstrumentError, UnknownStrategy) as error:
        return 0, 0, str(error)
    if plan is None:
        return 0, 0, ""
    needed = sum(segment_bytes(s.kind, s.capacity, s.counters, s.histograms) for s in plan.segments)
    return needed + len(plan.workers) * SNAPSHOT_ROOM * instruments, sum(map(is_hot, plan.processes)), ""


def plan_of(opened: Opened) -> tuple[Plan | None, int]:
    """The plan of the run and its instruments; a simulator's own are all subscribed by every strategy.

    Raises:
        PlanError, SettingsError, InstrumentError, UnknownStrategy: it cannot be made.
    """
    settings, cores = opened.settings, opened.cores
    own = opened.masters is None and not opened.no_masters
    if opened.no_masters:
        return None, 0
    n = settings.simulator.instruments if own else len(opened.chosen)
    wanted = [None if own else wanted_slots(row, opened.chosen) for row in settings.strategies]
    data = tuple(configured(settings, name) for name in settings.data_brokers)
    session = Session(settings.mode, configured(settings, settings.broker), data)
    if own:
        return make_plan(settings, n, wanted, len(cores), 3000, 3, cores), n
    first, *others = rooms_of(settings, session, opened.chosen)
    plan = make_plan(
        settings, n, wanted, len(cores), first.per_connection, first.connections, cores,
        instruments_max=first.instruments, second=others[0] if others else None,
    )  # fmt: skip
    return plan, n


def rules_facts(settings: Settings, opened: Opened) -> tuple[RulesFacts, ...]:
    """The limits of every broker of the run, the market's rules, the charges."""
    chosen, found = settings.trading, []
    for name in settings.brokers:
        path = rules_of(name, settings.broker, chosen.rules)
        try:
            limits = limits_from_mapping(load_yaml(path))
            from_ = dt.date.fromisoformat(limits.valid_from)
            found.append(RulesFacts(path, from_, limits.loopback_only, limits.orders_per_day))
        except (ValueError, TypeError) as error:
            found.append(RulesFacts(path, error=str(error)))
    for path, use in ((chosen.market, _market), (chosen.charges, _charges)):
        try:
            use(settings, opened)
        except (SettingsError, ValueError) as error:
            found.append(RulesFacts(path, error=str(error)))
    return tuple(found)


def _market(settings: Settings, opened: Opened) -> None:
    rules_of_day(settings, opened.day)


def _charges(settings: Settings, opened: Opened) -> None:
    charges_of_day(settings, opened.chosen, opened.now_ns)


def master_facts(opened: Opened) -> MasterFacts:
    """What is to be said of the instruments."""
    if opened.masters is None:
        return MasterFacts(own=not opened.no_masters, error=opened.no_masters)
    untradable = [row for row in opened.chosen if why_not_tradable(row, opened.day) and not row.is_index]
    return MasterFacts(
        sum(len(rows) for rows in opened.masters.lists.values()), len(opened.chosen),
        age_s=opened.masters_age_s, untradable=len(untradable), repeated=opened.repeated_lists,
    )  # fmt: skip


def exchanges_of(opened: Opened) -> tuple[str, ...]:
    """The exchanges of the run's instruments."""
    return tuple(sorted({row.exchange for row in opened.chosen})) or SHARES


def calendar_facts(opened: Opened) -> CalendarFacts:
    """The calendar by itself, and beside Upstox's calls where they may be asked."""
    settings, exchanges = opened.settings, exchanges_of(opened)
    if settings.trading.market_start:
        return CalendarFacts(((opened.day, exchanges),), by_hours=True, early_end=early_end(opened))
    try:
        rows = load_yaml(settings.trading.calendar)
        found = coverage(rows, exchanges, opened.day)
        return (
            asked(rows, exchanges, found, configured(settings, "upstox"), ist_date(opened.now_ns))
            if may_ask_upstox(settings)
            else found
        )
    except (SettingsError, ValueError) as error:
        return CalendarFacts(uncovered=((opened.day, str(error)),))


def early_end(opened: Opened) -> str:
    """Why a start refuses the configuration's own hours; "": it does not."""
    try:
        refuse_early_end(opened.settings, opened.now_ns, opened.chosen if len(opened.chosen) else None)
    except SettingsError as error:
        return str(error)
    return ""


def list_facts(settings: Settings, now_ns: int) -> ListFacts:
    """The daily lists of restricted instruments."""
    folder: Path = settings.risk.lists
    try:
        found = lists_of_day(settings, now_ns)
    except SettingsError as error:
        return ListFacts(True, folder, error=str(error))
    if found.lists is None:
        return ListFacts(False, folder)
    return ListFacts(True, folder, found.lists, found.missing, found.absent)
