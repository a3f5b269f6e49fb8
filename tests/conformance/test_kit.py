"""The kit for adapters: it holds for every broker there is, and sees an adapter that breaks a promise."""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from kite_hft.brokers.kite.rest import KITE
from kite_hft.layout import Side
from kite_hft.sim.brokers.kite import KITE_SIDE
from kite_hft.sim.brokers.side import BrokerSide
from kite_hft.sim.brokers.table import SIDES, side_of
from kite_hft.trading.broker import Ambiguous, Broker, Refused
from kite_hft.trading.feed_words import Act, Meaning
from kite_hft.verify.brokers import conformance, days, hunting
from kite_hft.verify.brokers.kit import ROWS, Kit, judge

BROKERS = sorted(SIDES)


@pytest.mark.parametrize("name", BROKERS)
def test_every_row_holds(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance.main(["--broker", name, "--quick"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] and told["rows"] >= 38 and told["checks"] > 3500
    assert all(row["checks"] for row in told["found"])


def asked(side: BrokerSide, name: str) -> list[str]:
    """What a row complains of."""
    (row,) = [row for row in ROWS if row.name == name]
    found: list[str] = judge(Kit(side), row)["wrong"]
    return found


def broken(name: str, change: Callable[[Broker], dict[str, Any]]) -> BrokerSide:
    """The broker with some functions of its adapter replaced."""
    side = side_of(name)

    def made(table: Any) -> Broker:
        right = side.broker(table)
        return replace(right, **change(right))

    return replace(side, broker=made)


def sells_for_buys(right: Broker) -> dict[str, Any]:
    return {"place": lambda order: right.place(order._replace(side=Side.SELL))}


def without_tag(right: Broker) -> dict[str, Any]:
    return {"place": lambda order: right.place(order._replace(tag=""))}


def refuses_all(right: Broker) -> dict[str, Any]:
    def parse(response: Any) -> Any:
        found = right.parse_outcome(response)
        return Refused("X", found.why, response.status) if isinstance(found, Ambiguous) else found

    return {"parse_outcome": parse}


def proves_nothing(right: Broker) -> dict[str, Any]:
    return {"parse_outcome": lambda response: Ambiguous("who knows")}


def half_a_book(right: Broker) -> dict[str, Any]:
    def parse(body: bytes) -> Any:
        try:
            return right.parse_orders(body)
        except ValueError:
            return []

    return {"parse_orders": parse}


def deaf(right: Broker) -> dict[str, Any]:
    return {"parse_update": lambda body: None}


def cancels_another(right: Broker) -> dict[str, Any]:
    return {"cancel": lambda order_id: right.cancel("1" + order_id)}


def nothing_held(right: Broker) -> dict[str, Any]:
    return {"parse_positions": lambda body: right.parse_positions(body)[:0]}


def counts_shares_twice(right: Broker) -> dict[str, Any]:
    """Those on their way among the settled ones."""

    def parse(body: bytes) -> Any:
        return [held._replace(settled=held.settled + held.t1) for held in right.parse_holdings(body)]

    return {"parse_holdings": parse}


def trusts_a_time_out(right: Broker) -> dict[str, Any]:
    """HTTP 408 as if it were another 4xx."""

    def parse(response: Any) -> Any:
        return right.parse_outcome(replace(response, status=400) if response.status == 408 else response)

    return {"parse_outcome": parse}


@pytest.mark.parametrize("name", BROKERS)
@pytest.mark.parametrize(
    ("change", "row"),
    [
        (sells_for_buys, "place"),
        (without_tag, "tags"),
        (refuses_all, "no proof"),
        (refuses_all, "time-outs"),
        (proves_nothing, "confirmed"),
        (proves_nothing, "proof of refusal"),
        (half_a_book, "unreadable books"),
        (deaf, "updates"),
        (cancels_another, "cancel"),
        (nothing_held, "trades and positions"),
        (counts_shares_twice, "funds, holdings, bands, margins"),
        (trusts_a_time_out, "no proof"),
    ],
)
def test_a_broken_promise_is_seen(name: str, change: Callable[[Broker], dict[str, Any]], row: str) -> None:
    assert asked(broken(name, change), row)


@pytest.mark.parametrize("name", BROKERS)
def test_a_feed_that_never_tires_is_seen(name: str) -> None:
    side = side_of(name)
    fast = {429: Meaning("again at once", Act.RETRY, "refused_429")}

    def words(table: Any) -> Any:
        return replace(side.words(table), handshake_meaning=fast)

    assert any("429" in text for text in asked(replace(side, words=words), "reconnects"))


def test_limits_without_a_source_are_seen() -> None:
    assert asked(replace(side_of("kite"), rules="loopback_limits.yaml"), "limits")


@pytest.mark.parametrize("name", BROKERS)
@pytest.mark.parametrize("part", [1])
def test_the_kit_sees_every_mistake_that_is_planted(name: str, part: int) -> None:
    """A quarter of them; all by `verify conformance --mutants`."""
    quick = [row for row in ROWS if row.check.__module__ != days.__name__]
    found = hunting.hunt(side_of(name), quick, slice(part, None, 4))
    assert len(found) >= 35 and [row["mutant"] for row in found if not row["row"]] == []
    assert len({row["row"] for row in found}) >= 12  # not one row alone


def test_a_kit_that_asks_too_little_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(conformance, "ROWS", [row for row in ROWS if row.name == "headers"])
    assert conformance.main(["--broker", "kite", "--mutants"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert "place: the other side" in told["unseen"] and "headers: no token" not in told["unseen"]


def test_a_side_is_found_by_its_module_and_what_is_no_side_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--side", "kite_hft.sim.brokers.kite:KITE_SIDE", "--row", "headers"]
    assert conformance.main(words) == 0
    capsys.readouterr()
    for odd in (["--side", "json:loads"], ["--side", "nowhere:X"], ["--broker", "none"], ["--row", "none"]):
        assert conformance.main(odd) == 2
        assert "conformance:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"rules": "nothing_yet.yaml"}, "nothing_yet.yaml"),
        ({"broker": lambda table: 1 / 0}, "division by zero"),
    ],
)
def test_a_side_that_cannot_be_made_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], change: dict[str, Any], told: str
) -> None:
    module = types.ModuleType("mybroker")
    module.SIDE = replace(KITE_SIDE, **change)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mybroker", module)
    assert conformance.main(["--side", "mybroker:SIDE", "--row", "headers"]) == 2
    text = capsys.readouterr().err
    assert (
        text.startswith("conformance: kite cannot be made: ")
        and told in text
        and "docs/conformance.md" in text
    )


def test_what_the_options_lack_is_told_first(capsys: pytest.CaptureFixture[str]) -> None:
    for words, told in (
        (["--url", "http://127.0.0.1:9"], "--url needs --access-token"),
        (["--side", "mybroker.side"], "MODULE:NAME is wanted"),
    ):
        assert conformance.main(words) == 2
        assert told in capsys.readouterr().err


def test_a_failure_of_a_side_names_it_in_the_command_that_replays(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = types.ModuleType("mybroker")
    broken = replace(KITE, name="other")
    module.SIDE = replace(KITE_SIDE, broker=lambda table: broken)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mybroker", module)
    assert conformance.main(["--side", "mybroker:SIDE", "--row", "instruments"]) == 1
    assert "--side mybroker:SIDE --row" in json.loads(capsys.readouterr().out)["replay"]


def test_another_machine_is_never_traded_with(capsys: pytest.CaptureFixture[str]) -> None:
    assert conformance.main(["--row", "headers", "--url", "https://api.kite.trade"]) == 2
    assert "127.0.0.1 only" in capsys.readouterr().err
