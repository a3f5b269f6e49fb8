"""Layer 2, compute, hot: the loops around a compiled strategy.

Never imported where it stands: compiled.py copies this file into the strategy's cache folder,
loads the copy, and gives it on_tick, on_order, PARAMS and STATE of the strategy, and the record of
a tick (TICK, or its first 64 bytes). Arrays come in by address, because numba takes longer to
recognise ten record arrays (0.3 ms) than to run a thousand ticks.
"""
# mypy: ignore-errors

from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from kite_hft.layout import INTENT, KERNEL_ROW, NO_SLOT, ORDER_EVENT, EventKind, OrderStatus, Reason
from kite_hft.strategies.base import POSITION
from kite_hft.strategies.intents import MAX_PER_TICK

KIND_REFUSED = int(EventKind.REFUSED)
STATUS_REFUSED = int(OrderStatus.REFUSED)
QUEUE_FULL = int(Reason.QUEUE_FULL)
TICKS_AHEAD, STATES_AHEAD = 24, 8


@intrinsic
def pointer(typing_context, address):
    """An integer address as a void pointer, for carray."""

    def generate(context, builder, signature, args):
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(address), generate


@intrinsic
def prefetch(typing_context, address):
    """Ask for the cache line at an integer address. Any address will do: nothing is read."""

    def generate(context, builder, signature, args):
        line = builder.inttoptr(args[0], cgutils.voidptr_t)
        i32 = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t, i32, i32, i32])
        called = builder.module.declare_intrinsic("llvm.prefetch", [cgutils.voidptr_t], kind)
        builder.call(called, [line, i32(0), i32(3), i32(1)])  # to read, keep near, data
        return context.get_dummy_value()

    return types.void(types.int64), generate


@njit(nogil=True)
def number(out, start, next_seq):
    """The numbers that the coming intents will bear, for the strategy to remember."""
    for j in range(MAX_PER_TICK):
        out[start + j].strategy_seq = next_seq + j


@njit(nogil=True)
def refuse(event, intent, strategy, state, position):
    """Tell the strategy that the queue had no room for an intent of this tick."""
    event.strategy_seq = intent.strategy_seq
    event.slot = intent.slot
    event.strategy = strategy
    event.side = intent.side
    event.product = intent.product
    event.kind = KIND_REFUSED
    event.status = STATUS_REFUSED
    event.reason = QUEUE_FULL
    event.position = position.qty
    on_order(event, state, position)  # noqa: F821


@njit(nogil=True, cache=True)
def run_ticks(addresses, n_slots, n, row_step, budget, strategy, made, next_seq):
    """Ticks in order through on_tick; returns (intents in out, next number, refused).

    out[made:] is blank, apart from the numbers. Addresses in the order of compiled.addresses_of.
    row_step: 1: a kernel row for each tick; 0: the first one stands for all.
    """
    ticks = carray(pointer(addresses[0]), n, TICK)  # noqa: F821
    rows = carray(pointer(addresses[1]), n, KERNEL_ROW)
    subscribed = carray(pointer(addresses[2]), n_slots, types.uint8)
    states = carray(pointer(addresses[3]), n_slots, STATE)  # noqa: F821
    positions = carray(pointer(addresses[4]), n_slots, POSITION)
    params = carray(pointer(addresses[5]), 1, PARAMS)[0]  # noqa: F821
    out = carray(pointer(addresses[6]), budget + 2 * MAX_PER_TICK, INTENT)
    where = carray(pointer(addresses[7]), budget + 2 * MAX_PER_TICK, types.int64)
    blank = carray(pointer(addresses[8]), 1, INTENT)
    events = carray(pointer(addresses[9]), 1, ORDER_EVENT)
    refused = 0
    number(out, made, next_seq)
    for i in range(n):
        # Ticks follow one another, their states do not; both are asked for early.
        prefetch(addresses[0] + (i + TICKS_AHEAD) * ticks.itemsize)
        if i + STATES_AHEAD < n:
            prefetch(addresses[3] + types.int64(ticks[i + STATES_AHEAD].slot) * states.itemsize)
        slot = ticks[i].slot
        row = rows[i * row_step]
        if slot >= n_slots or subscribed[slot] == 0 or row.tick_no == 0 or ticks[i].last_px <= 0:
            continue
        wanted = on_tick(  # noqa: F821
            ticks[i], row, states[slot], positions[slot], params, out[made : made + MAX_PER_TICK]
        )
        if wanted <= 0:
            continue
        taken = min(wanted, MAX_PER_TICK)
        room = max(0, budget - made)
        for j in range(taken):
            intent = out[made + j]
            if intent.slot == NO_SLOT:
                intent.slot = slot
            if j >= room:
                refuse(events[0], intent, strategy, states[slot], positions[slot])
                refused += 1
                continue
            intent.strategy = strategy
            intent.tick_recv_ns = ticks[i].recv_ns
            intent.tick_seq = ticks[i].seq
            if intent.slot == slot:
                intent.ref_px = ticks[i].last_px
            where[made + j] = i
        kept = min(taken, room)
        for j in range(kept, MAX_PER_TICK):
            out[made + j] = blank[0]
        made += kept
        next_seq += kept
        number(out, made, next_seq)
    return made, next_seq, refused


@njit(nogil=True, cache=True)
def run_events(addresses, n_slots, event_address, n, strategy):
    """Take over the positions of this strategy's events and hand each to on_order."""
    states = carray(pointer(addresses[3]), n_slots, STATE)  # noqa: F821
    positions = carray(pointer(addresses[4]), n_slots, POSITION)
    events = carray(pointer(event_address), n, ORDER_EVENT)
    count = 0
    for i in range(n):
        event = events[i]
        if event.strategy != strategy or event.slot >= n_slots or event.product >= 5:
            continue
        position = positions[event.slot]
        position.by_product[event.product] = event.position
        total = 0
        for j in range(5):
            total += position.by_product[j]
        position.qty = total
        on_order(event, states[event.slot], position)  # noqa: F821
        count += 1
    return count
