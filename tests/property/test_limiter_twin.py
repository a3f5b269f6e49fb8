"""The throttle and its budget decide as a limiter that counts every call the slow way."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from reference.limiter import SlowLimiter, Window

from kite_hft.trading.broker import Limits, RateWindow
from kite_hft.trading.sending.budget import NEVER_NS, Budget, ReadKind, span_ns_of
from kite_hft.trading.sending.throttle import Throttle

OTHER, RELIEF = ReadKind.OTHER, ReadKind.RELIEF
FAR = 10**15
MS = 1_000_000


@st.composite
def windows(draw: st.DrawFn, *, reads: bool = False) -> RateWindow:
    calls = draw(st.integers(1, 8))
    reserved = draw(st.integers(0, calls - 1))
    part = draw(st.integers(0, calls - reserved)) if reads else 0
    return RateWindow(calls, draw(st.sampled_from([0.01, 0.05, 0.4])), reserved, part)


def slow(window: RateWindow) -> Window:
    return window.calls, span_ns_of(window), window.reserved, window.reads


steps = st.lists(
    st.tuples(st.integers(0, 30 * MS), st.sampled_from(["entry", "exit", "read", "relief", "look"])),
    max_size=120,
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(windows(reads=True), max_size=2),
    st.lists(windows(), min_size=1, max_size=2),
    st.lists(windows(), max_size=1),
    st.sampled_from([0.0, 0.02, 5.0]),
    steps,
)
def test_the_same_calls_leave(
    shared: list[RateWindow],
    orders: list[RateWindow],
    reads: list[RateWindow],
    wait_s: float,
    wishes: list[tuple[int, str]],
) -> None:
    limits = Limits(
        "x", "2026-04-01", tuple(orders), 10**9, 1.0, 1,
        all_windows=tuple(shared), other_windows=tuple(reads), read_wait_s=wait_s,
    )  # fmt: skip
    made: Throttle[int] = Throttle(limits, Budget(limits))
    budget = made.budget
    twin = SlowLimiter([slow(w) for w in shared], [slow(w) for w in orders], [slow(w) for w in reads])
    lanes = {True: 0, False: 0}
    now, reading, relieving = 0, False, 0
    for gap, wish in wishes:
        now += gap
        if wish == "read":
            reading = True
        elif wish == "relief":
            relieving += 1
        elif wish != "look":
            urgent = wish == "exit"
            assert not made.offer(0, now, urgent=urgent, placement=False, deadline_ns=FAR)
            lanes[urgent] += 1
        due = made.next_ns(now)
        held = now >= budget.hold_ns
        fits = [u for u in (True, False) if lanes[u] and twin.order_fits(now, u, beside_a_read=held)]
        assert (due is not None and due <= now) == bool(fits)
        while lanes[True] or lanes[False]:
            fits = [u for u in (True, False) if lanes[u] and twin.order_fits(now, u, beside_a_read=held)]
            waiting = made.take(now)
            assert (waiting.urgent if waiting else None) == (fits[0] if fits else None)
            if waiting is None:
                break
            lanes[waiting.urgent] -= 1
            twin.leave(now, "order")
        while relieving:
            fit = twin.relief_fits(now, beside_a_read=held)
            assert (budget.read_free_ns(RELIEF, now) <= now) == fit
            if not fit:
                break
            budget.read_left(now, RELIEF)
            twin.leave(now, "relief")
            relieving -= 1
        if reading:
            fit = twin.read_fits(now, overdue=held)
            assert (budget.read_free_ns(OTHER, now) <= now) == fit
            if fit:
                budget.read_left(now, OTHER)
                twin.leave(now, "read")
                reading = False
                assert budget.hold_ns == NEVER_NS
            else:
                budget.read_waits(now, OTHER)
