"""Layer 3, compute process, hot: the tick half of Compute.step (stages/compute.py) in one compiled call.

Between two reads a process sleeps for milliseconds while others use its caches. What a step costs then
is not what it computes but how much code and data it touches: the interpreter's way through the stage
takes 40 us there and 4 us in a loop. So what happens on every read is here: drain, input log, kernels,
strategies, stamp, queue, histograms. Records, their order and all counters are those of the stage, whose
structures are used in place; what is rare goes back to it.
"""

from cpython.object cimport PyObject, PyObject_CallObject
from libc.stdint cimport int64_t, uint32_t, uint64_t

from counters cimport counter_add, counter_set, counters_t
from khft_layout cimport *
from kite_hft._counters cimport CounterWriter
from kite_hft._inputs cimport InputLog
from kite_hft._intents cimport IntentBox
from kite_hft._kernels cimport Kernels
from kite_hft._queue cimport QueueConsumer, QueueProducer
from kite_hft._ring cimport RingReader
from queue cimport queue_free, queue_push, queue_waiting
from ring cimport ring_drain
from segment cimport monotonic_ns

cdef enum:
    HOSTS_MAX = 64


cdef class TickStep:
    """One worker's tick steps, for a worker of one ring. Call it when there may be ticks.

    batch: strategies.hosts.Batch of TICKs; the others as Compute has them. bars_sink may be None.
    halt(host, error): a strategy raised. push(hosts): hand on the intents of several. refuse(n): so many
    did not go into a queue with room for them. slow(): do everything that waits, and call `follow`. It is called when order
    events wait, when the ring is closed, and when `due_ns` (CLOCK_MONOTONIC) is over. failed(error): told
    of what goes wrong, after which this object does nothing more; None: it is raised.

    span_ns: a call that finds ticks for so long returns, with others still waiting: whoever calls has to give
    signs of life, and may be asked to end. 0: not before all are worked on.

    The clock is the machine's: a worker under another one uses the stage.

    Raises:
        ValueError: arrays of other records, or too short.
        TypeError: a part that is not compiled.
    """

    cdef RingReader reader
    cdef QueueConsumer events
    cdef QueueProducer intents
    cdef CounterWriter counters
    cdef InputLog inputs
    cdef Kernels kernels
    cdef khft_tick_t* ticks
    cdef khft_kernel_row_t* rows
    cdef khft_bar_t* bars
    cdef Py_ssize_t size
    cdef uint32_t source
    cdef uint64_t generation
    cdef int64_t due_ns, deadline_ns
    cdef public int64_t span_ns
    cdef bint send_stamp, broken
    cdef int n_hosts
    cdef PyObject* boxes[HOSTS_MAX]
    cdef PyObject* calls[HOSTS_MAX]      # a compiled strategy's loop, or NULL
    cdef PyObject* arguments[HOSTS_MAX]  # of that call
    cdef int64_t* counts[HOSTS_MAX]      # where it looks for the number of ticks
    cdef list hosts
    cdef object kept, batch, bars_sink, halt, push, refuse, slow, failed

    def __init__(
        self, *, batch: object, kernels: object, events: object, intents: object, counters: object,
        inputs: object, uint32_t source, int64_t intent_deadline_ns,
        bint send_stamp, bars_sink: object, halt: object, push: object, refuse: object,
        slow: object, failed: object,
    ):
        if any(part is None for part in (kernels, events, intents, counters, inputs)):
            raise TypeError("a compiled step needs all parts of a stage, its input log too")
        self.size = len(batch.ticks)
        for array, record, needed in (
            (batch.ticks, sizeof(khft_tick_t), self.size),
            (batch.rows, sizeof(khft_kernel_row_t), self.size),
            (batch.bars, sizeof(khft_bar_t), 4 * self.size),
        ):
            if array.itemsize != record or len(array) < needed or not array.flags.c_contiguous:
                raise ValueError(f"{len(array)} records of {array.itemsize}, need {needed} of {record}")
        self.ticks = <khft_tick_t*> <size_t> batch.ticks.ctypes.data
        self.rows = <khft_kernel_row_t*> <size_t> batch.rows.ctypes.data
        self.bars = <khft_bar_t*> <size_t> batch.bars.ctypes.data
        self.batch, self.kernels, self.events, self.intents = batch, kernels, events, intents
        self.counters, self.inputs, self.source = counters, inputs, source
        self.deadline_ns, self.send_stamp, self.bars_sink = intent_deadline_ns, send_stamp, bars_sink
        self.halt, self.push, self.refuse, self.slow, self.failed = halt, push, refuse, slow, failed
        self.hosts = []

    def follow(self, reader: RingReader, uint64_t generation, hosts: object, int64_t due_ns) -> None:
        """What it works with from now on; called by `slow`.

        reader: of the ring's generation at hand. hosts: strategies.hosts.Host, those not halted. due_ns: at
        the end of the first step after this time `slow` is called; 0: instead of every step.
        """
        self.reader, self.generation, self.due_ns = reader, generation, due_ns
        if hosts != self.hosts:
            self._take(list(hosts))

    cdef int _take(self, list hosts) except -1:
        if len(hosts) > HOSTS_MAX:
            raise ValueError(f"{len(hosts)} strategies in one worker: at most {HOSTS_MAX}")
        self.n_hosts = 0
        kept = []
        for i, host in enumerate(hosts):
            box = host.outbox
            if not isinstance(box, IntentBox):
                raise TypeError(f"the outbox of {host.name} is no IntentBox")
            self.boxes[i] = <PyObject*> box
            self.calls[i] = self.arguments[i] = NULL
            compiled = getattr(host, "compiled", None)
            if compiled is not None:
                call, arguments, count = compiled
                self.calls[i], self.arguments[i] = <PyObject*> call, <PyObject*> arguments
                self.counts[i] = <int64_t*> <size_t> count.ctypes.data
            kept.append((box, compiled))
        self.kept, self.hosts, self.n_hosts = kept, hosts, len(hosts)
        return 0

    def __call__(self) -> None:
        if self.broken:
            return
        try:
            self._run()
        except Exception as error:
            if self.failed is None:
                raise
            self.broken = True
            self.failed(error)

    cdef int _run(self) except -1:
        cdef int64_t now_ns, until_ns
        cdef uint64_t n
        if self.due_ns == 0:
            self.slow()
            return 0
        now_ns = monotonic_ns()
        until_ns = min(self.due_ns, now_ns + self.span_ns) if self.span_ns else self.due_ns
        while True:
            if queue_waiting(&self.events.queue):
                self.slow()
                return 0
            n = ring_drain(&self.reader.ring, &self.reader.cursor, self.ticks, self.size)
            if n == 0:
                break
            self._step(n, now_ns)
            now_ns = monotonic_ns()
            if now_ns >= until_ns:
                break
        if now_ns >= self.due_ns or self.reader.is_closed():
            self.slow()
        return 0

    cdef int _step(self, Py_ssize_t n, int64_t now_ns) except -1:
        """Compute.step from the drain on."""
        cdef CounterWriter counters = self.counters
        cdef RingReader reader = self.reader
        cdef int64_t drained_ns = monotonic_ns(), done_ns
        cdef uint64_t room = queue_free(&self.intents.queue) if self.n_hosts else 0
        cdef size_t closed
        self.inputs.put(
            INPUT_KIND_DRAIN, self.source, self.generation, reader.cursor.first_seq, <uint32_t> n,
            reader.cursor.lost_last, now_ns, room,
        )
        closed = self.kernels.take(self.ticks, sizeof(khft_tick_t), n, self.rows, self.bars)
        if self.n_hosts:
            self._with_hosts(n, room)
        done_ns = monotonic_ns()
        counter_add(&counters.counters, COMPUTE_COMPUTED, n)
        counter_add(&counters.counters, COMPUTE_BATCHES, 1)
        counter_set(&counters.counters, COMPUTE_CHECKSUM_COMPUTED, <int64_t> self.kernels.k.checksum)
        counter_set(&counters.counters, COMPUTE_LATE, self.kernels.k.late)
        counter_add(&counters.counters, COMPUTE_BARS, closed)
        if reader.cursor.lost_last:
            counter_add(&counters.counters, COMPUTE_LOST, reader.cursor.lost_last)
        if closed and self.bars_sink is not None:
            self.bars_sink(self.batch.bars[:closed])
        counters.count_reads(COMPUTE_HIST_READ_TO_DRAINED, self.ticks, n, drained_ns)
        counters.count_reads(COMPUTE_HIST_READ_TO_COMPUTED, self.ticks, n, done_ns)
        if self.send_stamp:
            counters.count_stamps(COMPUTE_HIST_SEND_TO_COMPUTED, self.ticks, n, done_ns)
        return 0

    cdef int _with_hosts(self, Py_ssize_t n, int64_t room) except -1:
        """Compute._with_hosts for ticks."""
        cdef IntentBox box, speaker = None
        cdef int i, speakers = 0
        cdef list left = None
        for i in range(self.n_hosts):
            box = <IntentBox> self.boxes[i]
            box.open(room)
            try:
                if self.calls[i] != NULL:
                    self.counts[i][0] = n
                    PyObject_CallObject(<object> self.calls[i], <object> self.arguments[i])
                else:
                    self.hosts[i].run(n)
            except Exception as error:  # whatever a user's code may raise
                host = self.hosts[i]
                self.halt(host, error)
                left = [other for other in (self.hosts if left is None else left) if other is not host]
            if box.made or box.refusals:
                room -= box.made
                speaker = box
                speakers += 1
        if speakers == 1:
            self._push(speaker)
        elif speakers:
            self.push([host for host in self.hosts if host.outbox.n or host.outbox.refused])
        if left is not None:
            self._take(left)
        return 0

    cdef int _push(self, IntentBox box) except -1:
        """Compute._push for the intents of one strategy."""
        cdef counters_t* counters = &self.counters.counters
        cdef int64_t now_ns = monotonic_ns()
        cdef Py_ssize_t n = box.made
        counter_add(counters, COMPUTE_SIGNALS, box.stamp(now_ns, self.deadline_ns) + box.refusals)
        if box.refusals:
            counter_add(counters, COMPUTE_INTENTS_REFUSED_FULL, box.refusals)
        counter_add(counters, COMPUTE_INTENTS, n)
        if n == 0:
            return 0
        if queue_push(&self.intents.queue, box.intent, n) != <uint64_t> n:
            self.refuse(n)
        self.counters.count_intents(
            COMPUTE_HIST_TICK_TO_INTENT, COMPUTE_HIST_SEND_TO_INTENT if self.send_stamp else -1,
            box.intent, box.where, n, self.ticks, self.size, now_ns,
        )
        return 0
