"""Layer 6, by hand, cold: checks of the day: rules, instruments, calendar, lists, who is told. Pure."""

from __future__ import annotations

from typing import Final

from kite_hft.app.day.facts import Facts
from kite_hft.app.day.finding import Finding, age, day_words, fail, ok, warn

RULES_DAYS: Final = 300
"""A file of limits that is older than this has to be looked at: brokers change them once or twice a year."""
MASTERS_S: Final = 86_400.0


def limits(facts: Facts) -> Finding:
    """The dated files can be read; the limits are of this broker, and not too old."""
    name = "rules"
    broken = [row for row in facts.rules if row.error]
    if broken:
        text = f"{broken[0].path}: {broken[0].error}"
        return fail(name, text, f"correct the file, or name another one in trading.* of {facts.config}")
    future = [row for row in facts.rules if row.from_ is not None and row.from_ > facts.day]
    if future:
        row = future[0]
        return fail(
            name, f"{row.path.name} is valid from {row.from_}, the traded day is {facts.day}",
            "name the file of the day in trading.rules",
        )  # fmt: skip
    if facts.live and any(row.loopback_only for row in facts.rules):
        loop = next(row for row in facts.rules if row.loopback_only)
        return fail(
            name, f"{loop.path.name} has limits that no broker grants",
            "name the broker's own rules file in trading.rules",
        )  # fmt: skip
    told = [(row, (facts.day - row.from_).days) for row in facts.rules if row.from_ is not None]
    old = [(row, days) for row, days in told if days > RULES_DAYS]
    if old:
        row, days = old[0]
        return warn(
            name, f"{row.path.name} is {days} days old",
            f"compare it with the broker's page, then write a new dated file beside {row.path}",
        )  # fmt: skip
    words = ", ".join(f"{row.path.name} ({days} days old)" for row, days in told)
    return ok(name, f"{words}; market rules and charges can be read")


def mode(facts: Facts) -> Finding:
    """What mode live asks of a configuration."""
    if facts.not_live:
        return fail("mode", facts.not_live, f"correct {facts.config}")
    word = facts.settings.mode
    return ok("mode", f"{word}: the start asks for the account" if facts.live else word)


def loss_limit(facts: Facts) -> Finding:
    """A loss limit of the day."""
    most = facts.settings.risk.max_daily_loss
    name = "loss limit"
    if most is not None:
        return ok(name, f"{most:,.2f} rupees net, then {facts.settings.risk.on_daily_loss}")
    text = "none: nothing stops a strategy that loses again and again"
    fix = f"set risk.max_daily_loss in {facts.config} (rupees, net of charges)"
    return fail(name, f"{text}; mode live refuses to start", fix) if facts.live else warn(name, text, fix)


def masters(facts: Facts) -> Finding:
    """The day's instruments are there, and can be traded."""
    found, name = facts.master, "instruments"
    refresh = f"kite-hft instruments refresh --config {facts.config}"
    if found.own:
        n = facts.settings.simulator.instruments
        return ok(name, f"{n:,}, of the simulator that the run starts")
    if found.error:
        return fail(name, found.error, refresh)
    if found.age_s > MASTERS_S:
        return fail(name, f"the lists are {found.age_s / 3600:.0f} hours old", refresh)
    words = f"{found.chosen:,} of {found.rows:,}, taken {age(found.age_s)}"
    if found.repeated and traded_today(facts):
        return warn(name, f"{words}; {found.repeated[0]}", refresh)
    if found.untradable and found.chosen and facts.settings.datafeed.instruments != "all":
        return warn(
            name, f"{words}; {found.untradable:,} of them cannot be traded (unknown terms, or over)",
            f"kite-hft instruments show NAME --config {facts.config} says why; take them out of "
            "datafeed.instruments",
        )  # fmt: skip
    return ok(name, words)


def calendar(facts: Facts) -> Finding:
    """Every day up to five sessions from now is covered, and Upstox says the same of them.

    Without the traded day nothing can be traded, and without the next session a position that is held over
    the night has no known end; what lies behind that is only missed later.
    """
    found, name, path = facts.calendar, "calendar", facts.settings.trading.calendar
    if found.early_end:
        return fail(name, found.early_end, f"change trading.market_end in {facts.config}")
    if found.by_hours:
        text = "not looked at: trading.market_start and market_end are the hours of any day, holidays as well"
        fix = f"take both out of {facts.config}: then {path} counts"
        return warn(name, text, fix) if facts.live else ok(name, text)
    if found.uncovered:
        day, text = found.uncovered[0]
        first = next((date for date, trades in found.days if trades and date > facts.day), day)
        near = day == facts.day or (facts.live and day <= first)
        say = fail if near else warn
        return say(name, text, f"add the rows to {path} (source: the exchange's circular)")
    if found.against:
        more = f" and {len(found.against) - 1} more" if len(found.against) > 1 else ""
        return fail(
            name, f"{found.against[0]}{more}",
            f"look at the exchange's circular; correct {path}, or wait until Upstox corrects itself",
        )  # fmt: skip
    last = found.days[-1][0] if found.days else facts.day
    words = f"covered from {facts.day} to {last}"
    if found.hours_against:
        return warn(
            name, f"{words}; {found.hours_against[0]}", f"look at the exchange's circular; see {path}"
        )
    if found.unreachable:
        return warn(
            name, f"{words}; not compared: {found.unreachable}", "kite-hft doctor again; see upstox.api_url"
        )
    return ok(name, f"{words}; {'Upstox says the same' if found.against is not None else 'not compared'}")


def traded_today(facts: Facts) -> tuple[str, ...]:
    """Exchanges of the configuration that trade on the day."""
    return dict(facts.calendar.days).get(facts.day, ())


def trades_today(facts: Facts) -> Finding:
    """Something of the configuration trades on the day."""
    name, days, trades = "trading day", facts.calendar.days, traded_today(facts)
    if trades:
        return ok(name, f"{day_words(facts.day)}: {', '.join(trades)} trade")
    coming = next((day for day, exchanges in days if exchanges and day > facts.day), None)
    then = f"; next: {day_words(coming)}" if coming else ""
    return warn(name, f"{day_words(facts.day)}: no exchange of this configuration trades{then}", "wait")


def lists(facts: Facts) -> Finding:
    """The daily lists of restricted instruments."""
    found, name = facts.lists, "daily lists"
    if found.error:
        return fail(name, found.error, "correct the file, or remove it")
    if not found.needed:
        return ok(name, "a simulator has none")
    day = facts.day.isoformat()
    if found.missing:
        return warn(
            name,
            f"missing: {', '.join(found.missing)}: what they could forbid is not opened, but for risk.allow",
            f"write {found.folder}/{found.missing[0]}-{day}.csv, one name a line, an empty file for an empty "
            f"list; kite-hft instruments changes --config {facts.config} compares",
        )
    absent = f"; of {', '.join(found.absent)} only the series are known" if found.absent else ""
    return ok(name, f"{', '.join(found.found)} of {day}{absent}")


def sinks(facts: Facts) -> Finding:
    """Somebody is told."""
    found, name = facts.sinks, "alert sinks"
    waived = bool(facts.settings.alerts.waive_sinks)
    people = [sink for sink in found.configured if sink != "journald"]
    setting = (
        f"kite-hft credentials --broker alerts (webhook, Telegram), or set alerts.hook in {facts.config}"
    )
    if found.tried is not None:
        bad = [f"{sink}: {why}" for sink, why in found.tried.items() if why]
        if bad:
            return fail(name, "; ".join(bad), "kite-hft alerts --test --config " + str(facts.config))
        if found.tried:
            return ok(name, f"a test reached {', '.join(found.tried)}")
    if people:
        return ok(name, f"{', '.join(found.configured)} (kite-hft doctor --test-alerts tries them)")
    if waived:
        return warn(name, "none that reaches a person: alerts.waive_sinks says so", setting)
    text = "none that reaches a person"
    return (
        fail(name, f"{text}: mode live refuses to start", setting)
        if facts.live
        else warn(name, text, setting)
    )
