"""Layer 6, by hand, cold: checks of what the brokers must accept: keys, tokens, clock, address. Pure."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path
from typing import Final

from kite_hft.app.day.facts import BrokerFacts, Facts
from kite_hft.app.day.finding import Finding, fail, ok, warn
from kite_hft.configuring.layers import IN_DOTENV, Origin
from kite_hft.sessions import ist_midnight_ns, ist_text
from kite_hft.units import NS_PER_S

SOON_S: Final = 3600
"""A token that ends within this is told."""


def vault(facts: Facts) -> Finding:
    """Keys come from the vault, and it opens."""
    keys, name = facts.keys, "keys"
    if keys.error:
        return fail(name, f"the vault cannot be used: {keys.error}", "kite-hft credentials --status")
    mock = facts.settings.mode == "sim"  # whose alerts do not come from the vault
    rows = [(key, origin) for key, origin in keys.inline.items() if not (mock and key.startswith("alerts."))]
    if rows:
        told = ", ".join(f"{key} ({place(origin)})" for key, origin in rows)
        return warn(
            name, f"not in the vault: {told}",
            "kite-hft credentials (asks for them), then take them out where they stand now",
        )  # fmt: skip
    if keys.opened:
        return ok(name, f"out of {keys.path}")
    if keys.needed and facts.settings.mode != "sim":
        return fail(name, f"none in {facts.config.name}, and there is no vault at {keys.path}",
                    "kite-hft credentials")  # fmt: skip
    return ok(name, "none are needed: the simulator brings its own")


def place(origin: Origin) -> str:
    """Where a key stands: config.yaml:12, NAME in .env, variable NAME."""
    if origin.line:
        return f"{Path(origin.source).name}:{origin.line}"
    return origin.source if origin.source.endswith(IN_DOTENV) else f"variable {origin.source}"


def token(facts: Facts) -> Finding:
    """Every token is there, lives long enough, and its broker takes it."""
    name = "token"
    found = [broker for broker in facts.brokers if not broker.own]
    if not found:
        return ok(name, "none is needed: the simulator brings its own")
    told = [_token(facts, broker) for broker in found]
    worst = max(told, key=lambda row: ("ok", "warn", "fail").index(row.level))
    if worst.level != "ok":
        return worst
    return ok(name, "; ".join(row.text for row in told))


def _token(facts: Facts, broker: BrokerFacts) -> Finding:
    name, login = "token", login_command(facts, broker)
    if not broker.key:
        return fail(name, f"{broker.name}: there is no API key",
                    f"kite-hft credentials --broker {broker.name.split()[0]}")  # fmt: skip
    if not broker.token:
        return fail(name, f"{broker.name}: there is no token of today", login)
    until = f"until {ist_text(broker.until_ns)[:16]} IST" if broker.until_ns else "with no known end"
    if broker.until_ns and broker.until_ns <= facts.now_ns:
        return fail(name, f"{broker.name}: the token has ended ({until})", login)
    if broker.status in (401, 403):
        return fail(name, f"{broker.name} does not take the token: {broker.error}", login)
    if broker.source_error:
        return warn(name, f"{broker.name}: not asked, no connection can leave from {broker.source}",
                    f"correct {section(broker)}.bind_address")  # fmt: skip
    if broker.error:
        return fail(
            name, f"{broker.name} cannot be asked: {broker.error}", "kite-hft doctor again, once it can"
        )
    if broker.wanted and broker.user_id and broker.user_id.upper() != broker.wanted.upper():
        text = f"{broker.name}: the token is of {broker.user_id} ({broker.who}), the vault's profile of "
        return fail(name, text + broker.wanted, f"{login}, as {broker.wanted}")
    who = f" ({broker.who})" if broker.who else ""
    took = f"{broker.name} takes it{who}" if broker.status else f"{broker.name}: not asked"
    if broker.until_ns and broker.until_ns < ist_midnight_ns(facts.day + dt.timedelta(days=1)):
        # Tokens of both brokers die in the night: what does not live until then is of a login before.
        say = fail if facts.live and not broker.loopback else warn
        return say(name, f"{took}, {until}: of an earlier login, it does not live through the day", login)
    if broker.until_ns and broker.until_ns - facts.now_ns < SOON_S * NS_PER_S:
        return warn(name, f"{took}, {until}: less than an hour", login)
    return ok(name, f"{took}, {until}")


def login_command(facts: Facts, broker: BrokerFacts) -> str:
    """How a token is got."""
    sandbox = " --sandbox" if "sandbox" in broker.name else ""
    profile = facts.settings.credentials.profile
    return f"kite-hft login --broker {broker.name.split()[0]} --profile {profile}{sandbox}"


def section(broker: BrokerFacts) -> str:
    """The part of the configuration that the broker stands in."""
    return broker.name.split()[0]


def source(facts: Facts) -> Finding:
    """The address that connections leave from is this machine's."""
    name, there = "source address", ", ".join(facts.machine.addresses) or "none but loopback"
    bound = [broker for broker in facts.brokers if broker.source]
    for broker in bound:
        if broker.source_error:
            return fail(
                name,
                f"{section(broker)}.bind_address {broker.source}: {broker.source_error}; there is {there}: "
                "the engine does not start so",
                f"ip -brief address, then correct {section(broker)}.bind_address in {facts.config}",
            )
    if bound:
        return ok(name, ", ".join(f"{broker.source} to {broker.name}" for broker in bound))
    out = facts.orders
    if out and not out.own and not out.loopback and len(facts.machine.addresses) > 1:
        return warn(
            name,
            f"this machine has {there}, and the system chooses: the broker may see one that it does not know",
            f"set {section(out)}.bind_address in {facts.config} to the registered one",
        )
    return ok(name, "the system chooses it")


def clock(facts: Facts) -> Finding:
    """The wall clock is disciplined, and near the brokers'."""
    name, most_ns = "clock", round(facts.settings.risk.skew_s * NS_PER_S)
    fix = "apt install chrony && chronyc makestep && chronyc tracking"
    seen = [(broker, broker.skew_ns) for broker in facts.brokers if broker.skew_ns is not None]
    for broker, (least_ns, most_skew_ns) in seen:
        off_ns = max(least_ns, 0) or min(most_skew_ns, 0)
        if abs(off_ns) > most_ns:
            side = "before" if off_ns > 0 else "behind"
            return fail(
                name,
                f"at least {abs(off_ns) / NS_PER_S:.2f} s {side} {broker.name}'s, "
                f"{facts.settings.risk.skew_s:g} s are allowed (risk.skew_s)",
                fix,
            )
    told = "; ".join(
        f"{broker.name}'s within {max(abs(least), abs(most)) / NS_PER_S:.2f} s"
        for broker, (least, most) in seen
    )
    beside = told or "no broker was asked for its own"
    if facts.machine.synchronised is False:
        text = f"{beside}; nobody disciplines it: it will drift"
        return warn(name, text, fix)
    error_ms = facts.machine.clock_error_us / 1000
    held = "" if facts.machine.synchronised is None else f"; disciplined, at most {error_ms:.1f} ms off"
    return ok(name, f"{beside}{held}")


def address(facts: Facts) -> Finding:
    """Order calls come from an address that the broker knows."""
    name, broker = "address", facts.orders
    if broker is None:
        return ok(name, "no order leaves this machine")
    if broker.own:
        return ok(name, "orders go to the simulator that the run starts")
    here = broker.source or ", ".join(facts.machine.addresses) or "none"
    where = "https://developers.kite.trade (profile, IP whitelist)"
    if broker.name == "upstox":
        where = "Upstox, My Apps (static IP); one change a week, and it ends all tokens"
    if broker.proof is not None:
        return _proved(name, broker, here, where)
    if broker.registered:
        told = f"registered: {', '.join(broker.registered)}"
        if _seen_as_it_is(broker.source):
            return _registered(name, broker, told, where)
        if set(broker.registered) & set(facts.machine.addresses):
            return ok(name, f"{told}; this machine has one of them")
        return warn(
            name,
            f"{told}; this machine has {here}, and may be seen by another one",
            "kite-hft doctor --prove-ip (one order call: the cancel of an order that cannot exist)",
        )
    if broker.loopback:
        return ok(name, "orders stay on this machine (kite-hft doctor --prove-ip asks)")
    if broker.registered == ():
        text = f"{broker.name} has no registered address: order calls are refused"
        return fail(name, text, f"register one: {where}")
    return warn(
        name,
        f"not proved; this machine has {here}",
        "kite-hft doctor --prove-ip (one order call: the cancel of an order that cannot exist)",
    )


def _seen_as_it_is(source: str) -> bool:
    """Whether the broker sees this very address: no router stands before it that shows another one."""
    return bool(source) and ipaddress.ip_address(source).is_global


def _registered(name: str, broker: BrokerFacts, told: str, where: str) -> Finding:
    if broker.source in (broker.registered or ()):
        return ok(name, f"{told}; orders leave from {broker.source}")
    return fail(
        name, f"{told}; orders leave from {broker.source}: they are refused",
        f"set {section(broker)}.bind_address to a registered address, or register this one: {where}",
    )  # fmt: skip


def _proved(name: str, broker: BrokerFacts, here: str, where: str) -> Finding:
    proof = broker.proof
    assert proof is not None
    if proof.word == "allowed":
        return ok(name, f"{broker.name} takes order calls from here ({proof.text})")
    if proof.word == "address":
        return fail(
            name,
            f"{broker.name} refuses order calls from here ({here}): {proof.text}",
            f"register the address this machine is seen by: {where}",
        )
    if proof.word == "permission":
        return fail(
            name, f"{broker.name} takes no order calls of this app: {proof.text}", "mend it at the broker"
        )
    if proof.word == "token":
        return fail(
            name,
            f"not proved, the token is not taken: {proof.text}",
            f"kite-hft login --broker {broker.name}",
        )
    return warn(
        name,
        f"not proved, {broker.name}'s answer says nothing of it: {proof.text}",
        "kite-hft doctor --prove-ip again in market hours",
    )


def engine(facts: Facts) -> Finding:
    """No other engine holds the account, or the same login under another name."""
    name = "other engine"
    if facts.engine_pid:
        return warn(
            name, f"an engine runs on {facts.settings.broker}-{facts.settings.account} (process "
            f"{facts.engine_pid}): a second one is refused",
            f"kite-hft status --account {facts.settings.account}, or kite-hft stop",
        )  # fmt: skip
    if facts.engine_login_pid:
        return fail(
            name, f"an engine runs on the same API key under another account name (process "
            f"{facts.engine_login_pid})",
            "kite-hft stop (kite-hft status shows whose it is)",
        )  # fmt: skip
    return ok(name, "none on this account")


def latch(facts: Facts) -> Finding:
    """The account is not killed."""
    if facts.latched:
        account = f"--account {facts.settings.account} --broker {facts.settings.broker}"
        return fail("kill latch", f"the account is KILLED: {facts.latched}", f"kite-hft resume {account}")
    return ok("kill latch", "not set")


def broker_switch(facts: Facts) -> Finding:
    """The account is not locked at the broker. Orders in a segment that is are refused in words that prove
    nothing, so that each of them would be of unknown fate."""
    name, broker = "kill switch", facts.orders
    if broker is None or broker.own:
        return ok(name, "no order leaves this machine")
    if broker.stopped is None:
        return ok(name, f"not told by {broker.name}")
    if not broker.stopped:
        return ok(name, "nothing is stopped by the account's kill switch")
    told = f"the account's kill switch at {broker.name} has stopped {', '.join(broker.stopped)}"
    if facts.segments and not set(broker.stopped) & set(facts.segments):
        return warn(name, f"{told}; no instrument of this run is there", "kite-hft kill-switch --status")
    fix = "kite-hft kill-switch --off (from twelve hours after the stop on), then kite-hft login"
    return fail(name, f"{told}: orders there are refused", fix)
