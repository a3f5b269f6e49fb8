"""Checks of keys, token, clock, address, other engines and the kill latch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from day_tools import HOUR_NS, NOW_NS, broker, facts, machine, settings

from kite_hft.app.day.doctor import checks_brokers as checks
from kite_hft.app.day.facts import Facts, KeyFacts, Proof
from kite_hft.app.day.finding import Check
from kite_hft.configuring.layers import Origin

PUBLIC = "8.8.8.8"
VAULT = Path("/v/credentials.vault")
IN_FILE = Origin("/etc/kite/config.yaml", 12)
FAR_NS = 2_500_000_000


def proved(word: str, **more: Any) -> Facts:
    return facts(brokers=(broker(proof=Proof(word, "its words"), **more),))


CASES: list[tuple[str, Check, Facts, str, str]] = [
    ("vault that opens", checks.vault, facts(), "ok", ""),
    (
        "vault that does not open",
        checks.vault,
        facts(keys=KeyFacts(VAULT, True, True, error="wrong password")),
        "fail",
        "kite-hft credentials --status",
    ),
    ("no vault", checks.vault, facts(keys=KeyFacts(VAULT, False, True)), "fail", "kite-hft credentials"),
    (
        "keys in the file",
        checks.vault,
        facts(keys=KeyFacts(VAULT, inline={"kite.access_token": IN_FILE})),
        "warn",
        "kite-hft credentials",
    ),
    (
        "alerts in the file",
        checks.vault,
        facts(keys=KeyFacts(VAULT, True, True, opened=True, inline={"alerts.webhook": IN_FILE})),
        "warn",
        "kite-hft credentials",
    ),
    (
        "alerts in the file of a simulation",
        checks.vault,
        facts(settings=settings(mode="sim"), keys=KeyFacts(VAULT, inline={"alerts.webhook": IN_FILE})),
        "ok",
        "",
    ),
    (
        "simulator's keys",
        checks.vault,
        facts(settings=settings(mode="sim"), keys=KeyFacts(VAULT, needed=True)),
        "ok",
        "",
    ),
    ("good token", checks.token, facts(), "ok", ""),
    ("own simulator", checks.token, facts(brokers=(broker(own=True, token=False),)), "ok", ""),
    (
        "no key",
        checks.token,
        facts(brokers=(broker(key=False),)),
        "fail",
        "kite-hft credentials --broker kite",
    ),
    ("no token", checks.token, facts(brokers=(broker(token=False),)), "fail", "kite-hft login --broker kite"),
    ("token that ended", checks.token, facts(brokers=(broker(until_ns=NOW_NS),)), "fail", "kite-hft login"),
    (
        "token that is refused",
        checks.token,
        facts(brokers=(broker(status=403, error="TokenException"),)),
        "fail",
        "kite-hft login",
    ),
    (
        "token of somebody else",
        checks.token,
        facts(brokers=(broker(user_id="ZZ9999", wanted="AB1234"),)),
        "fail",
        "kite-hft login --broker kite --profile default, as AB1234",
    ),
    (
        "token of the vault's user, in other letters",
        checks.token,
        facts(brokers=(broker(user_id="ab1234", wanted="AB1234"),)),
        "ok",
        "",
    ),
    (
        "broker that is down",
        checks.token,
        facts(brokers=(broker(status=0, error="cannot reach"),)),
        "fail",
        "kite-hft doctor",
    ),
    (
        "token that ends before the day does",
        checks.token,
        facts(brokers=(broker(until_ns=NOW_NS + HOUR_NS // 2),)),
        "fail",
        "kite-hft login",
    ),
    (
        "sandbox's token",
        checks.token,
        facts(brokers=(broker(name="upstox sandbox", token=False),)),
        "fail",
        "kite-hft login --broker upstox --profile default --sandbox",
    ),
    (
        "the worse of two",
        checks.token,
        facts(brokers=(broker(), broker(name="upstox", token=False))),
        "fail",
        "--broker upstox",
    ),
    ("good clock", checks.clock, facts(), "ok", ""),
    (
        "clock before the broker's",
        checks.clock,
        facts(brokers=(broker(skew_ns=(FAR_NS, FAR_NS + 1)),)),
        "fail",
        "chrony",
    ),
    (
        "clock behind the broker's",
        checks.clock,
        facts(brokers=(broker(skew_ns=(-FAR_NS - 1, -FAR_NS)),)),
        "fail",
        "chrony",
    ),
    (
        "wide bounds that hold zero",
        checks.clock,
        facts(brokers=(broker(skew_ns=(-FAR_NS, FAR_NS)),)),
        "ok",
        "",
    ),
    ("clock that drifts", checks.clock, facts(machine=machine(synchronised=False)), "warn", "chrony"),
    ("kernel that tells nothing", checks.clock, facts(machine=machine(synchronised=None)), "ok", ""),
    ("registered address", checks.address, facts(), "ok", ""),
    ("no orders leave", checks.address, facts(brokers=(broker(orders=False),)), "ok", ""),
    ("orders to the own simulator", checks.address, facts(brokers=(broker(own=True),)), "ok", ""),
    ("orders on loopback", checks.address, facts(brokers=(broker(loopback=True),)), "ok", ""),
    (
        "another address",
        checks.address,
        facts(brokers=(broker(registered=("198.51.100.1",)),)),
        "warn",
        "--prove-ip",
    ),
    (
        "no registered address",
        checks.address,
        facts(brokers=(broker(name="upstox", registered=()),)),
        "fail",
        "register one",
    ),
    ("broker that does not tell", checks.address, facts(brokers=(broker(),)), "warn", "--prove-ip"),
    (
        "bound to a registered address",
        checks.address,
        facts(brokers=(broker(source=PUBLIC, registered=(PUBLIC, "8.8.4.4")),)),
        "ok",
        "",
    ),
    (
        "bound to another one",
        checks.address,
        facts(brokers=(broker(source=PUBLIC, registered=("8.8.4.4",)),)),
        "fail",
        "set kite.bind_address",
    ),
    (
        "bound behind a router",
        checks.address,
        facts(brokers=(broker(source="10.0.0.5", registered=(PUBLIC,)),)),
        "warn",
        "--prove-ip",
    ),
    ("no source address", checks.source, facts(), "ok", ""),
    ("source address", checks.source, facts(brokers=(broker(source=PUBLIC),)), "ok", ""),
    (
        "source address of another machine",
        checks.source,
        facts(brokers=(broker(), broker(name="upstox sandbox", source=PUBLIC, source_error="none"))),
        "fail",
        "correct upstox.bind_address",
    ),
    (
        "several addresses to choose from",
        checks.source,
        facts(machine=machine(addresses=(PUBLIC, "8.8.4.4"))),
        "warn",
        "set kite.bind_address",
    ),
    (
        "several, and orders stay here",
        checks.source,
        facts(machine=machine(addresses=(PUBLIC, "8.8.4.4")), brokers=(broker(loopback=True),)),
        "ok",
        "",
    ),
    (
        "token, and no way to ask",
        checks.token,
        facts(brokers=(broker(status=0, source=PUBLIC, source_error="none"),)),
        "warn",
        "correct kite.bind_address",
    ),
    ("proved", checks.address, proved("allowed"), "ok", ""),
    ("proved on loopback, refused", checks.address, proved("address", loopback=True), "fail", "register"),
    ("app that may not trade", checks.address, proved("permission"), "fail", "at the broker"),
    ("proof without a token", checks.address, proved("token"), "fail", "kite-hft login"),
    ("proof that proves nothing", checks.address, proved("unknown"), "warn", "market hours"),
    ("no other engine", checks.engine, facts(), "ok", ""),
    ("engine on this account", checks.engine, facts(engine_pid=7), "warn", "kite-hft status"),
    ("engine on this login", checks.engine, facts(engine_login_pid=7), "fail", "kite-hft stop"),
    ("switch that nobody tells of", checks.broker_switch, facts(), "ok", ""),
    ("no order broker", checks.broker_switch, facts(brokers=()), "ok", ""),
    ("no switch", checks.broker_switch, facts(brokers=(broker(name="upstox", stopped=()),)), "ok", ""),
    (
        "switch thrown where we trade",
        checks.broker_switch,
        facts(brokers=(broker(name="upstox", stopped=("NSE_FO",)),), segments=("NSE_EQ", "NSE_FO")),
        "fail",
        "kite-hft kill-switch --off",
    ),
    (
        "switch thrown, and nobody knows where we trade",
        checks.broker_switch,
        facts(brokers=(broker(name="upstox", stopped=("NSE_FO",)),)),
        "fail",
        "kite-hft login",
    ),
    (
        "switch thrown elsewhere",
        checks.broker_switch,
        facts(brokers=(broker(name="upstox", stopped=("MCX_FO",)),), segments=("NSE_EQ",)),
        "warn",
        "kite-hft kill-switch --status",
    ),
    ("no latch", checks.latch, facts(), "ok", ""),
    (
        "killed",
        checks.latch,
        facts(latched="by hand"),
        "fail",
        "kite-hft resume --account AB1234 --broker kite",
    ),
]


@pytest.mark.parametrize(
    ("check", "given", "level", "fix"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_check(check: Check, given: Facts, level: str, fix: str) -> None:
    found = check(given)
    assert (found.level, fix in found.fix) == (level, True), found
    assert bool(found.fix) == (level != "ok") and found.text


def test_a_token_tells_until_when_and_whose_it_is() -> None:
    text = checks.token(facts()).text
    assert "kite takes it (A B), until 2026-11-21 05:30 IST" in text


def test_the_clock_says_by_how_much_and_which_way() -> None:
    assert "at least 2.50 s before" in checks.clock(facts(brokers=(broker(skew_ns=(FAR_NS, FAR_NS)),))).text
    assert "at least 2.50 s behind" in checks.clock(facts(brokers=(broker(skew_ns=(-FAR_NS, -FAR_NS)),))).text


def test_keys_outside_the_vault_are_told_with_the_place_they_stand_in() -> None:
    rows = {
        "kite.api_key": IN_FILE,
        "kite.api_secret": Origin("KITE_API_SECRET in .env"),
        "kite.access_token": Origin("KITE_ACCESS_TOKEN"),
    }
    told = checks.vault(facts(keys=KeyFacts(VAULT, inline=rows)))
    assert told.text == (
        "not in the vault: kite.api_key (config.yaml:12), kite.api_secret (KITE_API_SECRET in .env), "
        "kite.access_token (variable KITE_ACCESS_TOKEN)"
    )
