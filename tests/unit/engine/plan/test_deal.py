"""Instruments on connections: whole where they fit, even where they do not."""

from __future__ import annotations

import pytest

from kite_hft.engine.plan.deal import deal, owners, together


def sizes(dealt: tuple[tuple[int, ...], ...]) -> list[int]:
    return [len(slots) for slots in dealt]


def span(*bounds: int) -> frozenset[int]:
    return frozenset(range(*bounds))


def test_strategies_that_share_an_instrument_belong_together() -> None:
    groups = together([span(0, 3), span(10, 20), span(2, 5), frozenset()])
    assert groups == [span(10, 20), span(0, 5)]
    assert together([span(0, 2), span(4, 6), span(1, 5)]) == [span(0, 6)]


def test_without_strategies_all_is_even() -> None:
    assert sizes(deal(9000, [], 3, 3000)) == [3000] * 3
    assert sizes(deal(10, [], 3, 3000)) == [4, 3, 3]


def test_a_strategy_stays_whole_and_the_rest_evens_out() -> None:
    dealt = deal(100, [span(0, 40)], 2, 60)
    assert set(dealt[0]) >= span(0, 40) and sizes(dealt) == [50, 50]


def test_groups_go_to_the_emptiest_connection() -> None:
    assert sizes(deal(60, [span(0, 30), span(30, 50), span(50, 60)], 3, 3000)) == [30, 20, 10]


def test_room_is_used_where_spreading_would_break_a_strategy() -> None:
    # The emptiest first gives 6+3, 5+4 and 3 fits nowhere.
    groups = [span(0, 6), span(6, 11), span(11, 15), span(15, 18), span(18, 20)]
    dealt = deal(20, groups, 2, 10)
    assert all(any(group <= set(slots) for slots in dealt) for group in groups)


def test_a_strategy_that_fits_nowhere_is_cut_evenly() -> None:
    assert sizes(deal(9000, [span(0, 9000)], 3, 3000)) == [3000] * 3
    assert sizes(deal(4000, [span(0, 4000)], 2, 3000)) == [2000] * 2
    dealt = deal(7000, [span(0, 4000), span(4000, 7000)], 3, 3000)
    assert span(4000, 7000) in map(frozenset, dealt) and sizes(dealt) == [3000, 2000, 2000]


def test_a_connection_asked_for_is_never_empty() -> None:
    assert sizes(deal(20, [span(0, 20)], 2, 3000)) == [10, 10]
    assert sizes(deal(21, [span(0, 20)], 3, 3000)) == [10, 10, 1]
    assert sizes(deal(3, [span(0, 3)], 3, 3000)) == [1, 1, 1]


def test_more_than_the_connections_carry_is_refused() -> None:
    with pytest.raises(ValueError, match="9001 instruments on 3 connections"):
        deal(9001, [], 3, 3000)


def test_connections_that_a_group_spans_have_one_worker() -> None:
    dealt = ((0, 1), (2, 3), (4, 5))
    assert owners(dealt, []) == [(0,), (1,), (2,)]
    assert owners(dealt, [frozenset({1, 4})]) == [(0, 2), (1,)]
    assert owners(dealt, [frozenset({1, 2}), frozenset({3, 4})]) == [(0, 1, 2)]
