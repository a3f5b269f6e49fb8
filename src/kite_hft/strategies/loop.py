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
from kite_hft.strategies.intents import BOX, CALL_WORDS, MAX_PER_TICK, N_SLOTS, ROW_STEP, STRATEGY, N

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
def run_ticks(call):
    """Ticks in order through on_tick. `call` is the address of a compiled.call_of.

    Of its box, `n` goes on, `next_seq` too, and `refused` grows; out[n:] is blank, apart from the
    numbers. One plain integer is all that comes in, so that calling takes no time.
    """
    told = carray(pointer(call), CALL_WORDS, types.int64)
    box = carray(pointer(told[BOX]), 4, types.int64)
    made, next_seq, refused, budget = box[0], box[1], box[2], box[3]
    n_slots, n, row_step, strategy = told[N_SLOTS], told[N], told[ROW_STEP], told[STRATEGY]
    ticks_at, states_at = told[0], told[3]
    ticks = carray(pointer(ticks_at), n, TICK)  # noqa: F821
    rows = carray(pointer(told[1]), n, KERNEL_ROW)
    subscribed = carray(pointer(told[2]), n_slots, types.uint8)
    states = carray(pointer(states_at), n_slots, STATE)  # noqa: F821
    positions = carray(pointer(told[4]), n_slots, POSITION)
    params = carray(pointer(told[5]), 1, PARAMS)[0]  # noqa: F821
    out = carray(pointer(told[6]), budget + 2 * MAX_PER_TICK, INTENT)
    where = carray(pointer(told[7]), budget + 2 * MAX_PER_TICK, types.int64)
    blank = carray(pointer(told[8]), 1, INTENT)
    events = carray(pointer(told[9]), 1, ORDER_EVENT)
    number(out, made, next_seq)
    for i in range(n):
        # Ticks follow one another, their states do not; both are asked for early.
        prefetch(ticks_at + (i + TICKS_AHEAD) * ticks.itemsize)
        if i + STATES_AHEAD < n:
            prefetch(states_at + types.int64(ticks[i + STATES_AHEAD].slot) * states.itemsize)
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
    box[0], box[1], box[2] = made, next_seq, refused


@njit(nogil=True, cache=True)
def run_events(call, event_address, n):
    """Take over the positions of this strategy's events and hand each to on_order. Returns how many."""
    told = carray(pointer(call), CALL_WORDS, types.int64)
    n_slots, strategy = told[N_SLOTS], told[STRATEGY]
    states = carray(pointer(told[3]), n_slots, STATE)  # noqa: F821
    positions = carray(pointer(told[4]), n_slots, POSITION)
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
