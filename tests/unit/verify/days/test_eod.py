"""The end of the day as a campaign, in short; and that its judge can say no."""

from __future__ import annotations

import dataclasses

import pytest

from kite_hft.sim.brokers.table import side_of
from kite_hft.trading.exits import square_off
from kite_hft.verify.days import eod, hours

SEEDS = (1, 2)


@pytest.mark.parametrize("seed", SEEDS)
def test_short(seed: int) -> None:
    case = eod.Case(seed)
    assert case.run() == []
    assert case.count


def test_short_at_upstox_and_no_commodities_there() -> None:
    case = eod.Case(1, side_of("upstox"))
    assert case.run() == []
    drawn = [eod.Case(seed, side_of("upstox")).holdings for seed in range(2, 12)]
    assert not any(held.kind == "commodity" for holdings in drawn for held in holdings)


def quiet_case(seed: int) -> eod.Case:
    """One share in MIS without a stop, a live line."""
    case = eod.Case(seed)
    slot = next(s for s in case.bench.tradable if case._kind(s) == "cas")
    case.hours = ("14:40:00", "15:12:00")
    case.holdings = [eod.Holding("cas", slot, eod.Product.MIS, 10, stop=False)]
    return case


def untroubled(case: eod.Case) -> list[str]:
    def plan() -> None:
        case.marks = [case.bench.ns_of(text) for text in hours.HOURS["kite"]["cas"]]

    case._plan_trouble = plan  # type: ignore[method-assign]
    return case.run()


def test_a_live_line_closes_in_time_and_without_the_brokers_fee() -> None:
    case = quiet_case(2)
    assert untroubled(case) == []
    assert case.count == {"cas MIS: closed by us": 1} and not case.bench.exchange.account.fees


def test_the_judge_misses_a_square_off_that_does_not_happen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(square_off.SquareOff, "_anything", lambda self: False)
    case = quiet_case(2)
    assert any("although the line was alive" in text for text in untroubled(case))


def test_the_judge_misses_a_page_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(square_off.SquareOff, "_tell", lambda self, *more: None)
    case = quiet_case(2)
    case.bench.squares_off = False
    params = dataclasses.replace(
        case.bench.exchange.params, market=dataclasses.replace(case.bench.rules, square_offs=())
    )
    case.bench.exchange.params = params
    monkeypatch.setattr(eod, "look", lambda bench, desk: None)

    def plan() -> None:
        now_ns = case.bench.clock.mono
        case.bench.line.kill(now_ns, now_ns + 10**13, "refused")  # type: ignore[attr-defined]
        case.marks = [case.bench.ns_of(text) for text in hours.HOURS["kite"]["cas"]]

    case._plan_trouble = plan  # type: ignore[method-assign]
    assert any("nobody was paged" in text for text in case.run())
