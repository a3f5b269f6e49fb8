"""Of two feeds the fresher one is taken: the rule, its memory, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.twins import Tick, taken

from kite_hft._twins import LAST, Twins
from kite_hft.layout import TICK

S, MS = 10**9, 10**6
HOLD_NS = 1000 * MS


def records(ticks: list[Tick]) -> np.ndarray:
    found = np.zeros(len(ticks), TICK)
    for at, (slot, connection, exch_ns, recv_ns) in enumerate(ticks):
        found[at]["slot"], found[at]["connection"] = slot, connection
        found[at]["exch_ns"], found[at]["recv_ns"], found[at]["seq"] = exch_ns, recv_ns, at
    return found


def kept(twins: Twins, ticks: list[Tick]) -> list[int]:
    """Numbers of those that are taken, of one drain."""
    rows = records(ticks)
    n = twins.take(rows, len(rows))
    return rows["seq"][:n].tolist()


@pytest.mark.parametrize(
    ("second", "takes"),
    [
        ((0, 1, 5 * S, 900 * MS), False),  # the same second, a little later: told already
        ((0, 1, 5 * S + 999 * MS, 900 * MS), False),
        ((0, 1, 6 * S, 1), True),  # a later second, whenever it came
        ((0, 1, 4 * S, 900 * MS), False),
        ((0, 1, 5 * S, 1000 * MS), True),  # the one that leads is quiet
        ((0, 1, 4 * S, 1000 * MS), True),
        ((0, 1, 0, 999 * MS), False),  # without exchange times
        ((0, 1, 0, 1000 * MS), True),
        ((1, 1, 4 * S, 0), True),  # another instrument
        ((0, 0, 3 * S, 0), True),  # the same feed
    ],
)
def test_the_rule(second: Tick, takes: bool) -> None:
    twins = Twins(2, HOLD_NS)
    assert kept(twins, [(0, 0, 5 * S, 0)]) == [0]
    assert kept(twins, [second]) == [0] * takes


def test_who_leads_goes_on_to_lead() -> None:
    """No price goes back and forth between two feeds that tell the same."""
    twins = Twins(1, HOLD_NS)
    for second in range(20):
        lead, other = (0, 1) if second % 3 else (1, 0)
        ticks = [(0, lead, second * S, second * S + k * 100 * MS) for k in range(5)]
        assert kept(twins, ticks) == [0, 1, 2, 3, 4]
        late = [(0, other, second * S, second * S + k * 100 * MS + 50 * MS) for k in range(5)]
        assert kept(twins, late) == []


def test_a_feed_that_dies_is_followed_by_the_other() -> None:
    twins = Twins(1, HOLD_NS)
    assert kept(twins, [(0, 0, 99 * S, 0)]) == [0], "its clock is far ahead"
    ticks = [(0, 1, 5 * S, at * 100 * MS) for at in range(1, 30)]
    assert kept(twins, ticks) == list(range(9, 29))
    assert kept(twins, [(0, 0, 99 * S, 3000 * MS)]) == [0]


def test_order_and_content_of_what_is_taken() -> None:
    twins = Twins(3, HOLD_NS)
    twins.take(records([(1, 0, 5 * S, 0)]), 1)
    rows = records([(0, 1, 5 * S, 1), (1, 1, 5 * S, 1), (2, 1, 5 * S, 1), (1, 1, 6 * S, 1), (9, 1, 0, 0)])
    before = rows.copy()
    assert twins.take(rows, 4) == 3, "the fifth was not asked for"
    assert rows[:3].tobytes() == before[[0, 2, 3]].tobytes()
    assert rows[4:].tobytes() == before[4:].tobytes()


TICKS = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 2), st.integers(0, 4 * S), st.integers(0, 4 * S)
    ),
    max_size=30,
)  # fmt: skip


@given(TICKS, st.sampled_from([0, 1, 500 * MS, S]), st.data())
def test_as_the_plain_rule_in_any_cut(ticks: list[Tick], hold_ns: int, data: st.DataObject) -> None:
    expected = [at for at, yes in enumerate(taken(ticks, hold_ns)) if yes]
    whole = Twins(2, hold_ns)
    assert kept(whole, ticks) == expected
    cut = data.draw(st.integers(0, len(ticks)))
    first, second = Twins(2, hold_ns), Twins(2, hold_ns)
    found = kept(first, ticks[:cut])
    slots = np.arange(2, dtype=np.uint32)
    second.restore(np.frombuffer(first.save(slots).tobytes(), LAST), slots)
    assert found + [cut + at for at in kept(second, ticks[cut:])] == expected
    assert second.save(slots).tobytes() == whole.save(slots).tobytes()


def test_what_is_refused() -> None:
    for words in ((-1, 0), (1, -1)):
        with pytest.raises(ValueError, match="below 0"):
            Twins(*words)
    twins, rows = Twins(2, HOLD_NS), records([(0, 0, 0, 0), (2, 0, 0, 0)])
    before = rows.tobytes()
    with pytest.raises(ValueError, match="slot 2 of 2"):
        twins.take(rows, 2)
    assert rows.tobytes() == before and kept(twins, [(0, 1, 0, 0)]) == [0], "nothing was taken"
    with pytest.raises(ValueError, match="3 ticks asked for, the array holds 2"):
        twins.take(rows, 3)
    with pytest.raises(ValueError, match="192 bytes"):
        twins.take(np.zeros(2, np.int64), 1)
    with pytest.raises(ValueError, match="slots 2 to 2 of 2"):
        twins.save(np.array([2], np.uint32))
    saved = twins.save(np.array([0, 1], np.uint32))
    for wrong in (saved[:1], saved.view(np.int64)):
        with pytest.raises(ValueError, match="for 2 slots"):
            twins.restore(wrong, np.array([0, 1], np.uint32))
    assert twins.take(records([]), 0) == 0 and len(Twins(0, 0).save(np.zeros(0, np.uint32))) == 0
