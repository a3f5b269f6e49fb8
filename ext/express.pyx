"""Layer 2, orders process, hot: one plain placement from its queue to the transport, in one call.

The same as what intake, gate, desk, throttle and egress gate do for it one after the other, where nothing
else is to be done: it is alone, nobody waits, no window is full, nothing stands still. `calm` says so; what
is odd in any way is left to them, before anything has happened. From the verdict on each of their steps is
here, in their order, on their own data: taken from the budget, asked for the kill latch, counted by the egress
gate, written to the journal, and only then sent. Where a step says no, they end it.

One thing is later than there: the order is put into the book when its bytes have left, or when a step has said
no. Nobody looks at the book in between, that its names are free is known before, and a process that dies in
between finds the order in its journal. What follows is theirs again.

trading/sending/express.py makes it, and only of parts that are what this was written for.
"""

from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject, PyObject_Size
from cpython.ref cimport Py_INCREF
from cpython.tuple cimport PyTuple_GET_SIZE, PyTuple_SET_ITEM
from libc.stdint cimport int64_t, uint64_t

from khft_layout cimport khft_intent_t
from kite_hft._entering cimport Entering
from kite_hft._intents cimport tuple_of
from kite_hft._journal cimport Appender, placed_t
from kite_hft._lanes cimport BudgetState, OutboxState, RingState, ThrottleState
from kite_hft._queue cimport QueueConsumer
from queue cimport queue_peek, queue_waiting
from segment cimport monotonic_ns

import time

from kite_hft._gathered cimport FIELDS, FLAGS, KIND, ORDER_TYPE, PRODUCT, PX, QTY, SEQ, SIDE, SLOT, STRATEGY, TRIGGER_PX, VALIDITY
from kite_hft._intents import tuples
from kite_hft._journal import IntentPayload

from kite_hft.layout import INTENT, IntentKind, OrderType, Reason, Side
from kite_hft.memory.journal import JournalError, Kind

cdef extern from "Python.h":
    object PyType_GenericAlloc(type kind, Py_ssize_t items)

cdef extern from "<time.h>" nogil:
    cdef struct timespec:
        int64_t tv_sec
        int64_t tv_nsec
    int clock_gettime(int clock, timespec* now)
    int CLOCK_REALTIME

cdef enum:
    REQUEST_PARTS = 10

cdef int64_t PLACE = IntentKind.PLACE
cdef object PLACED = IntentKind.PLACE
cdef object INTENT_RECORD = Kind.INTENT
cdef int64_t MARKET = OrderType.MARKET
cdef int64_t LIMIT = OrderType.LIMIT
cdef int64_t STOP_LIMIT = OrderType.SL
cdef int64_t STOP_MARKET = OrderType.SLM
cdef int64_t BUY = Side.BUY
cdef uint64_t ENGINE_SEQ = 2**62  # as in trading/intents.py
cdef int64_t NEVER = 2**62
cdef int64_t LONG_AGO = -(2**62)
cdef int CREATED_NS = INTENT.names.index("created_ns")
cdef int DEADLINE_NS = INTENT.names.index("deadline_ns")
cdef int GROUP = INTENT.names.index("group")


cdef class Express:
    """For one order stage; the parts by their names there.

    journal: the writer, when its own words are what the stage asks for; else journal_state is called.
    kinds: (sides, order types, products, validities) by number, as a request has them. queues, texts: all
    of the stage's; where others than QueueConsumer are among them `send` does nothing. last, last_ns: the newest
    intent that left this way, and when; None: none has.
    """

    cdef object stage, intake, desk, calls, gate, states, ports, stewards, square_off
    cdef object passes, killed, journal, journal_state, writer, payload, place_call, transport, quiet
    cdef object mono_ns, real_ns, covered, intent, work, events
    cdef type request
    cdef Entering entering
    cdef Appender appender
    cdef OutboxState outbox
    cdef ThrottleState throttle
    cdef BudgetState budget
    cdef bint quickly  # the journal and its payload are what this knows
    cdef dict positions, sides, order_types, products, validities
    cdef tuple rows
    cdef list queues, texts
    cdef bint machine, wall, direct
    cdef int64_t entry_wait_ns
    cdef readonly object protection
    cdef object record
    cdef int64_t judged, latch_again_ns
    cdef readonly int64_t last_ns
    cdef readonly object last

    def __cinit__(
        self, *, stage: object, intake: object, desk: object, outbox: object, calls: object, states: object,
        ports: object, keeper: object, gate: object, passes: object, entering: Entering, journal: object,
        payload: object, kinds: object, types: object, int64_t entry_wait_ns, protection: object,
        int64_t latch_again_ns,
    ):
        self.stage, self.intake, self.desk, self.outbox, self.calls = stage, intake, desk, outbox, calls
        self.states, self.ports, self.passes, self.entering, self.payload = states, ports, passes, entering, payload
        self.throttle, self.budget, self.gate = desk.throttle, desk.egress.budget, gate
        self.stewards, self.square_off, self.covered = keeper.stewards, keeper.square_off, keeper.plans.covered
        self.killed, self.journal, self.journal_state = ports.killed, journal, ports.journal_state
        self.writer, self.place_call, self.transport = ports.journal, ports.broker.place, ports.transport
        self.appender = self.writer if own_way(self.writer) else None
        self.mono_ns, self.real_ns, self.rows = ports.clock.mono_ns, ports.clock.real_ns, ports.instruments.rows
        self.machine, self.wall = self.mono_ns is time.monotonic_ns, self.real_ns is time.time_ns
        self.positions, self.entry_wait_ns, self.protection = desk.book.positions, entry_wait_ns, protection
        self.sides, self.order_types, self.products, self.validities = kinds
        (self.intent, self.work, self.request), self.events = types, ports.events
        self.last_ns, self.latch_again_ns = LONG_AGO // 2, latch_again_ns
        self.quickly = type(payload) is IntentPayload and self.appender is not None
        tuples(self.intent, b"", 0)  # says when that is no Intent
        self._keep_queues(ports)

    cdef int _keep_queues(self, ports) except -1:
        self.queues, self.texts = list(ports.intents), list(ports.texts)
        self.quiet = getattr(ports.transport, "quiet", None)
        self.direct = self.quiet is not None
        for queue in [*self.queues, *self.texts]:
            self.direct = self.direct and type(queue) is QueueConsumer
        if self.direct:
            for queue in self.queues:
                self.direct = self.direct and (<QueueConsumer> queue).queue.record_size == sizeof(khft_intent_t)
        return 0

    cdef inline int64_t now(self) except? -1:
        return monotonic_ns() if self.machine else <int64_t> self.mono_ns()

    cdef inline int64_t real(self) except? -1:
        cdef timespec now
        if not self.wall:
            return self.real_ns()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1_000_000_000 + now.tv_nsec

    def send(self, int64_t now_ns) -> int:
        """Take in and send the one intent that waits, when it is a plain placement and nothing else has come.
        Returns 1; 0: nothing was done.
        """
        cdef khft_intent_t row
        cdef QueueConsumer source
        cdef Py_ssize_t at = -1, i = 0
        cdef uint64_t n
        if not self.direct:
            return 0
        for source in self.queues:
            n = queue_waiting(&source.queue)
            if n:
                if n > 1 or at >= 0:
                    return 0
                at = i
            i += 1
        if at < 0 or self._has_come(now_ns):
            return 0
        source = self.queues[at]
        if queue_peek(&source.queue, &row, 1) != 1 or row.kind != PLACE or row.group:
            return 0
        cdef int64_t taken_ns = self.now()
        if not self._place(<tuple> tuple_of(self.intent, &row), at, now_ns):
            return 0
        self.intake.left_alone(at, row.created_ns, taken_ns, self.judged)
        return 1

    def place(self, intent: object, int at, int64_t now_ns) -> bool:
        """The same of an intent that was taken from queue `at` and has nothing beside it; the queue is left."""
        if not isinstance(intent, tuple) or PyTuple_GET_SIZE(intent) != FIELDS:
            return False
        return self._place(<tuple> intent, at, now_ns)

    @property
    def judged_ns(self) -> int:
        """When the last one was judged and in the book."""
        return self.judged

    cdef bint _has_come(self, int64_t now_ns) except -1:
        """Something that the stage looks at before its intents."""
        cdef QueueConsumer text
        cdef object journal = self.journal
        for text in self.texts:
            if queue_waiting(&text.queue):
                return True
        if journal is not None:
            if journal.failed or journal.low:
                return True
        elif any(self.journal_state()):
            return True
        return self.outbox.disk_low or self.states.killed or not self.quiet(now_ns)

    cdef bint calm(self, int64_t now_ns) except -1:
        """A placement that passes the gate would leave at once, and nobody would act before it does."""
        cdef OutboxState outbox = self.outbox
        cdef ThrottleState throttle = self.throttle
        cdef BudgetState budget = self.budget
        cdef object stewards = self.stewards
        return (
            self.stage.active
            and not outbox.halted and not outbox.journal_failed
            and not throttle._urgent and not throttle._entries
            and now_ns >= throttle._cool_until_ns
            and throttle.placed_today < throttle._entry_day
            and now_ns >= budget.entry_free_ns and now_ns < budget.hold_ns
            and now_ns < <int64_t> self.square_off.wake_ns
            and now_ns < <int64_t> stewards._due_ns and outbox.stirred == <int64_t> stewards._seen
        )

    cdef bint _place(self, tuple intent, int at, int64_t now_ns) except -1:
        cdef object strategy = intent[STRATEGY], seq = intent[SEQ], intake = self.intake, passed, last, freeze
        cdef int64_t deadline_ns = intent[DEADLINE_NS]
        if (
            <int64_t> intent[KIND] != PLACE or intent[GROUP] or not 0 < <uint64_t> seq < ENGINE_SEQ
            or <int64_t> intent[ORDER_TYPE] == MARKET or not 0 <= <int64_t> intent[SLOT] < <int64_t> len(self.rows)
            or (deadline_ns != 0 and deadline_ns <= now_ns) or intake._heads[at] > 0 or strategy not in self.events
            or not self.calm(now_ns)
        ):
            return False
        last = self.intake.last_seq.get(strategy, 0)
        freeze = self.rows[intent[SLOT]].freeze_quantity
        if seq <= last or (freeze and intent[QTY] > freeze) or self._covered(intent):
            return False
        passed = self.passes(intent, last, now_ns)
        if passed is None:
            return False
        intake.last_seq[strategy] = seq
        if not deadline_ns or now_ns + self.entry_wait_ns < deadline_ns:
            deadline_ns = now_ns + self.entry_wait_ns
        self._go(intent, passed, now_ns, deadline_ns)
        return True

    cdef bint _covered(self, tuple intent) except -1:
        """It closes a position, and exits may have to give way to it."""
        cdef object key = (intent[STRATEGY], intent[SLOT], intent[PRODUCT])
        cdef PyObject* held = PyDict_GetItem(self.positions, key)
        cdef int64_t quantity
        if not held:
            return False
        quantity = (<object> held).quantity
        return quantity != 0 and (quantity < 0) == (<int64_t> intent[SIDE] == BUY) and self.covered(key)

    # It has passed the gate

    cdef int _go(self, tuple intent, object passed, int64_t now_ns, int64_t deadline_ns) except -1:
        cdef OutboxState outbox = self.outbox
        cdef ThrottleState throttle = self.throttle
        cdef object desk = self.desk, order = None, number, tag, text
        cdef bint opening = not passed.reducing
        cdef int64_t let_out_ns
        number = desk.last_order_no + 1
        desk.last_order_no = number
        tag = self.entering.tag(number)
        if not self.entering.is_plain(intent, number, tag):
            order = self.entering.enter(intent, number, opening)  # which may say that it is taken
        self.judged = self.now()
        throttle.placed_today += 1  # as Throttle.offer, expired and pop of the only call that waits
        if now_ns >= throttle.deadline_ns:
            throttle.deadline_ns = NEVER
        if opening and deadline_ns < throttle.deadline_ns:
            throttle.deadline_ns = deadline_ns
        let_out_ns = self.now()
        if opening and (text := self.killed()):
            reason, text = Reason.KILLED, f"killed: {text}"
        elif text := self._refused(now_ns, tag):
            outbox.halt(f"egress: {text}")
            reason = Reason.HALTED
            desk.egress.budget.moved(now_ns, None)
        elif not self._journalled(intent, number, tag, passed):
            reason, text = Reason.JOURNAL_FAILED, outbox.journal_failed
        else:
            return self._leave(intent, order, number, tag, passed, let_out_ns, now_ns)
        if reason is not Reason.JOURNAL_FAILED:  # else the second count has it, and it keeps its place
            throttle.placed_today -= 1
        if order is None:
            order = self.entering.put(intent, number, tag, opening)
        desk._drop(self.work(PLACED, order, intent, passed), reason, text, now_ns)
        return 0

    cdef int _leave(
        self, tuple intent, object order, object number, object tag, object passed, int64_t let_out_ns, int64_t now_ns
    ) except -1:
        """It stands in the journal, and goes; unless it was judged long ago by now."""
        cdef object calls = self.calls, work, call, late = None
        cdef int64_t real_ns = self.real(), before_ns, after_ns = 0
        try:
            call = calls.last_id + 1
            request = self.place_call(self._request(intent, tag))
            before_ns = self.now()
            if not passed.reducing and before_ns - now_ns > self.latch_again_ns:
                order = order or self.entering.put(intent, number, tag, True)
                work = self.work(PLACED, order, intent, passed, (), self.judged)
                late = self.desk.egress.held_up(work, now_ns, before_ns)
            if late is None:
                calls.last_id = call
                self.transport.submit(call, request)
                after_ns = self.now()
        finally:
            if order is None:
                order = self.entering.put(intent, number, tag, not passed.reducing)
            order.sent_ns, order.sent_real_ns = now_ns, real_ns
        self.outbox.recorded(self.record, (order.strategy, order.strategy_seq))
        work = self.work(PLACED, order, intent, passed)
        work.offered_ns, work.let_out_ns, work.sent_ns = self.judged, let_out_ns, now_ns
        if late is not None:
            self.desk.withhold(work, *late, now_ns)
        else:
            calls.left(call, work)
            self.desk.left(work, before_ns, after_ns, now_ns)
            self.last, self.last_ns = intent, now_ns
        self.entering.look_ahead(number + 1)
        return 0

    cdef object _refused(self, int64_t now_ns, object tag):
        """As Throttle.leaves, Budget.left, and EgressGate.refuses on its own count; its words are its own."""
        cdef BudgetState budget = self.budget
        cdef int64_t free_ns = LONG_AGO
        for ring in budget._all:
            free_ns = max(free_ns, moved_on(ring, now_ns))
        budget.urgent_free_ns = free_ns
        for ring in budget._open:
            free_ns = max(free_ns, moved_on(ring, now_ns))
        budget.entry_free_ns = free_ns
        self.throttle.last_ns = now_ns
        cdef set placed = self.gate._placed
        cdef list windows = self.gate._both
        cdef object times, now = now_ns
        cdef tuple window
        cdef int64_t begin_ns
        if tag in placed:
            return self.gate.refuses(now, tag)
        for window in windows:
            times, begin_ns = window[2], now_ns - <int64_t> window[1]
            while PyObject_Size(times) and <int64_t> times[0] <= begin_ns:
                times.popleft()
            if PyObject_Size(times) >= <Py_ssize_t> window[0]:
                return self.gate.refuses(now, tag)
        for window in windows:
            window[2].append(now)
        placed.add(tag)
        return ""

    cdef bint _journalled(self, tuple intent, object number, object tag, object passed) except -1:
        """As Outbox.journal of an INTENT; what it counts is counted when the order has left."""
        try:
            self.record = self._append_placed(intent, number, tag, passed) if self.quickly else 0
            if not self.record:
                judged = (passed.ref_px, passed.tick_seq, passed.age_ns)
                order = self.entering.made(intent, number, tag, not passed.reducing)
                payload = self.payload(order, self.rows[order.slot].token, judged)
                self.record = self.writer.append(INTENT_RECORD, self.real(), payload)
        except JournalError as error:
            self.outbox._journal_failed(str(error))
            return False
        return True

    cdef int64_t _append_placed(self, tuple intent, object number, object tag, object passed) except -1:
        """As intent_payload, and `append` of it; 0: it is not for this, and nothing was written."""
        cdef placed_t placed
        cdef int64_t kind = intent[ORDER_TYPE]
        try:
            placed.no, placed.strategy, placed.seq = number, intent[STRATEGY], intent[SEQ]
            placed.slot, placed.side, placed.order_type = intent[SLOT], intent[SIDE], kind
            placed.product, placed.validity, placed.flags = intent[PRODUCT], intent[VALIDITY], intent[FLAGS]
            placed.quantity, placed.opening, placed.parent = intent[QTY], not passed.reducing, 0
            placed.px = intent[PX] if priced(kind) else 0
            placed.trigger_px = intent[TRIGGER_PX] if triggered(kind) else 0
            placed.token, placed.created_ns = self.rows[placed.slot].token, intent[CREATED_NS]
            placed.ref_px, placed.tick_seq, placed.age_ns = passed.ref_px, passed.tick_seq, passed.age_ns
        except OverflowError:  # a number beyond int64
            return 0
        return self.appender.append_placed(INTENT_RECORD, self.real(), &placed, tag)

    cdef object _request(self, tuple intent, object tag):
        """As request_of."""
        cdef tuple made = <tuple> PyType_GenericAlloc(self.request, REQUEST_PARTS)
        cdef int64_t kind = intent[ORDER_TYPE]
        put(made, 0, self.rows[intent[SLOT]])
        put(made, 1, self.sides[intent[SIDE]])
        put(made, 2, self.order_types[intent[ORDER_TYPE]])
        put(made, 3, self.products[intent[PRODUCT]])
        put(made, 4, self.validities[intent[VALIDITY]])
        put(made, 5, intent[QTY])
        put(made, 6, intent[PX] if priced(kind) else 0)
        put(made, 7, intent[TRIGGER_PX] if triggered(kind) else 0)
        put(made, 8, self.protection)
        put(made, 9, tag)
        return made


cdef bint own_way(object writer) except -1:
    """It appends as the class does, and in no way of its own."""
    cdef object own = type(writer), usual = Appender
    return (
        isinstance(writer, Appender) and "append" not in getattr(writer, "__dict__", {})
        and own.append is usual.append and own.write is usual.write
    )


cdef inline bint priced(int64_t kind) noexcept:
    return kind == LIMIT or kind == STOP_LIMIT


cdef inline bint triggered(int64_t kind) noexcept:
    return kind == STOP_LIMIT or kind == STOP_MARKET


cdef inline void put(tuple row, int at, object value):
    Py_INCREF(value)  # PyTuple_SET_ITEM takes it over
    PyTuple_SET_ITEM(row, at, value)


cdef int64_t moved_on(RingState ring, int64_t now_ns) except? -1:
    """One call more in a ring of the budget; from when on the next one fits."""
    ring.times[ring.at] = now_ns + ring.span_ns
    ring.at = ring.at + 1 if ring.at + 1 < ring.n else 0
    return ring.times[ring.at]
