"""The real ORDERS stage of the order benchmarks, wired as the orders process wires it.

Real: the stage with its risk checks, throttle, kill latch, egress gate and book; the journal in a file on
the disk with its fsync thread; orders.csv and trades.csv; queues, latest table and counters in shared memory;
HTTP over TLS with certificate and host name checked. The one difference: the table of limits
(rules.yaml), so that the throttle never waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import kit
from orders.far import INSTRUMENTS

from kite_hft import _counters, _queue, _table
from kite_hft.brokers.kite.rest import auth_headers
from kite_hft.brokers.limits import limits_from_mapping
from kite_hft.brokers.table import broker_of
from kite_hft.clock import SystemClock
from kite_hft.engine.orders.files import open_csv
from kite_hft.engine.orders.latch import LatchWatch
from kite_hft.engine.orders.waiting import Waiting
from kite_hft.engine.orders.warmth import warmth_of
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import COUNTERS, HISTOGRAMS, SegmentKind
from kite_hft.memory.journal import Header
from kite_hft.memory.journal_files import open_journal
from kite_hft.memory.journal_writer import JournalWriter, SyncBeside
from kite_hft.memory.segment import create, make_directory
from kite_hft.net.http import HttpTransport
from kite_hft.settings import load_yaml
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from kite_hft.stages.orders import Orders
from kite_hft.trading.gate.limits import RiskLimits
from kite_hft.trading.intents import Tags
from kite_hft.trading.ports import OrdersConfig, Ports
from kite_hft.trading.records import ORDER_COLUMNS, TRADE_COLUMNS

HERE: Final = Path(__file__).resolve().parent
NO_ANSWERS: Final[Any] = None  # no supervisor is there to be told anything
NAMES: Final = HISTOGRAMS["orders"]
TOKEN: Final = "b" * 32
HEADERS: Final = auth_headers("benchkey", TOKEN)


class Kept:
    """Counters in shared memory as in the engine, and every duration as it was."""

    def __init__(self, writer: _counters.CounterWriter) -> None:
        self.add, self.set, self._record = writer.add, writer.set, writer.record
        self.seen: list[list[int]] = [[] for _ in NAMES]

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        self._record(histogram, ns, n)
        self.seen[histogram].append(ns)

    def clear(self) -> None:
        for durations in self.seen:
            durations.clear()

    def of(self, name: str) -> list[int]:
        """Durations (ns) of a histogram since `clear`."""
        return self.seen[NAMES.index(name)]


def certificate(folder: Path) -> None:
    """cert.pem and key.pem for 127.0.0.1, signed by itself."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run([*words, *files], check=True, capture_output=True)


class FarSide:
    """far.py as a process on the last core."""

    def __init__(self, folder: Path, wake_fd: int, segments: dict[str, str], broker: str) -> None:
        words = {"wake_fd": wake_fd, "segments": segments, "broker": broker}
        (folder / "far.json").write_text(json.dumps(words))
        path = os.pathsep.join([str(kit.ROOT / "src"), str(kit.HERE)])
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "far.py"), str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[wake_fd], text=True,
            env={**os.environ, "PYTHONPATH": path},
        )  # fmt: skip
        os.sched_setaffinity(self.process.pid, {cores()[-1]})
        assert self.process.stdout is not None and self.process.stdin is not None
        self._out, self._in = self.process.stdout, self.process.stdin
        self.port = int(json.loads(self._out.readline())["port"])

    def ask(self, **words: Any) -> None:
        """Begin; `done` waits for the end."""
        self._in.write(json.dumps(words) + "\n")
        self._in.flush()

    def done(self) -> None:
        self._out.readline()

    def close(self) -> None:
        self._in.close()
        self.process.wait(10)


def cores() -> list[int]:
    """Cores that were free to use when this process began."""
    return _CORES


_CORES: Final = sorted(os.sched_getaffinity(0))


class Bench:
    """The stage, and the far side it works against."""

    def __init__(self, folder: Path, memory: Path, held: contextlib.ExitStack, broker: str = "kite") -> None:
        certificate(folder)
        self.folder, self.clock, self.broker = folder, SystemClock(), broker
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK)
        held.callback(os.close, self.wake_fd)
        paths = _segments(memory)
        self.far = FarSide(folder, self.wake_fd, paths, broker)
        held.callback(self.far.close)
        os.sched_setaffinity(0, {cores()[0]})
        held.callback(os.sched_setaffinity, 0, cores())
        self.context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
        segments = Segments(paths)
        held.callback(segments.close)
        views = [
            segments.share("intents", SegmentKind.INTENT_QUEUE).view,
            segments.share("texts", SegmentKind.TEXT_QUEUE).view,
        ]
        intents, texts = (_queue.QueueConsumer(view) for view in views)
        events = _queue.QueueProducer(segments.own("events", SegmentKind.EVENT_QUEUE).view)
        self.kept = Kept(_counters.CounterWriter(segments.own("counters", SegmentKind.COUNTERS).view))
        instruments = with_upstox_keys(default_instruments(INSTRUMENTS, 1)[0])
        adapter = broker_of(broker, instruments)
        headers = adapter.auth_headers("benchkey", TOKEN)
        self.transport = HttpTransport(self.url, self.clock, headers, context=self.context)
        held.callback(self.transport.close)
        latch = LatchWatch(folder)
        held.callback(latch.close)
        journal = self._journal(held)
        ports = Ports(
            instruments=instruments,
            broker=adapter, transport=self.transport, clock=self.clock, journal=journal,
            journal_state=journal.state, synced_seq=lambda: journal.synced_seq,
            killed=latch.killed, kill_flat=latch.flatten, killed_by=lambda: latch.by,
            counters=self.kept,
            latest=_table.TableReader(segments.read("latest", SegmentKind.LATEST_TABLE).view),
            intents=[intents], texts=[texts], events={1: events}, tags=Tags("abc", 7),
            on_order=open_csv(folder / "orders.csv", ORDER_COLUMNS, _alarm, held),
            on_trade=open_csv(folder / "trades.csv", TRADE_COLUMNS, _alarm, held),
            alert=_told,
        )  # fmt: skip
        # Thousands of orders a second are no fault here: what counts them over a minute is set wide.
        wide = RiskLimits(
            repeats_max=10**9, period_orders=10**9, period_quantity=10**12, period_value=1e15,
            max_gross_notional=1e15,
        )  # fmt: skip
        limits = limits_from_mapping(load_yaml(HERE / "rules.yaml"))
        config = OrdersConfig(limits, wide, loopback=True)
        self.stage = Orders(ports, config)
        self._rounds = {
            wait: Waiting(
                self.stage, self.transport, [intents, texts], views, self.wake_fd, self.clock, segments,
                None, NO_ANSWERS, wait, latch, self._syncing.wake,
            ).round
            for wait in ("spin", "park")
        }  # fmt: skip
        warmth = warmth_of(self.stage, ports, folder, self.clock, held, print)
        for once in self._rounds.values():
            once.__self__.warmth = warmth
        self.stage.start()
        self._until(lambda: self.stage.active)
        self.orders(15, 0.0, spin=True)  # opens the positions

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.far.port}"

    def _journal(self, held: contextlib.ExitStack) -> JournalWriter:
        fd = open_journal(self.folder / "journal.bin", allow_memory=True)
        held.callback(os.close, fd)
        writer = JournalWriter(fd, header=Header(0, 0, self.clock.real_ns()))
        self._syncing = SyncBeside(writer)
        self._syncing.start()
        held.callback(self._syncing.stop)
        return writer

    def _until(self, over: Callable[[], bool], wait: str = "park") -> None:
        end_ns = self.clock.mono_ns() + 120_000_000_000
        once = self._rounds[wait]
        while not over():
            once()
            if self.clock.mono_ns() > end_ns:
                raise TimeoutError("the order stage does not get on")

    def orders(self, n: int, gap_s: float, *, spin: bool) -> dict[str, list[int]]:
        """`n` orders; durations in ns by the name of the histogram."""
        self.kept.clear()
        ended = self.stage.outbox.totals
        before = ended["cancelled"] + ended["filled"]
        self.far.ask(n=n, gap_s=gap_s)
        wait = "spin" if spin else "park"
        self._until(lambda: ended["cancelled"] + ended["filled"] - before >= n, wait)
        self.far.done()
        self._until(lambda: self.stage.idle, wait)
        found = {name: list(self.kept.of(name)) for name in NAMES}
        if len(found["intent_to_sent"]) != n:
            raise RuntimeError(f"{len(found['intent_to_sent'])} of {n} orders were sent")
        return found

    def rival(self, name: str, n: int, gap_s: float, *, spin: bool) -> dict[str, float] | None:
        """The same from a rival (peers/orders_rivals.py send): median, p90, p99 in us."""
        fifo = self.folder / "fifo"
        if not fifo.exists():
            os.mkfifo(fifo)
        self.far.ask(n=n, gap_s=gap_s, fifo=str(fifo))
        found = kit.peer(
            "orders", "orders_rivals.py", "send", name, self.url, self.folder / "cert.pem", n, fifo,
            "spin" if spin else "park", self.broker,
        )  # fmt: skip
        self.far.done()
        return found


def _alarm(code: str, key: str, text: str) -> None:
    print(f"{code} {key}: {text}", file=sys.stderr)


def _told(fields: dict[str, Any]) -> None:
    print(f"{fields['code']} {fields['key']}: {fields['text']}", file=sys.stderr)


def _segments(memory: Path) -> dict[str, str]:
    kinds = {
        "intents": (SegmentKind.INTENT_QUEUE, 4096),
        "texts": (SegmentKind.TEXT_QUEUE, 256),
        "events": (SegmentKind.EVENT_QUEUE, 65536),
        "latest": (SegmentKind.LATEST_TABLE, INSTRUMENTS),
        "counters": (SegmentKind.COUNTERS, len(COUNTERS["orders"])),
    }
    now = {"now_mono_ns": time.monotonic_ns(), "now_real_ns": time.time_ns()}
    found = {}
    for name, (kind, capacity) in kinds.items():
        counted = {"counters": capacity, "histograms": len(NAMES)} if kind is SegmentKind.COUNTERS else {}
        found[name] = str(create(memory, name, kind, capacity, **counted, **now))
    return found


@contextlib.contextmanager
def bench(broker: str = "kite") -> Iterator[Bench]:
    """The stage, ACTIVE, with its positions open, and a broker; everything it made goes with the block."""
    build = kit.ROOT / "build"
    build.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="bench-order-", dir=build))
    memory = make_directory(Path("/dev/shm"), f"bench-order-{os.getpid()}")
    try:
        with contextlib.ExitStack() as held:
            yield Bench(folder, memory, held, broker)
    finally:
        shutil.rmtree(folder)
        shutil.rmtree(memory)


def median_us(durations: Sequence[int]) -> float:
    return sorted(durations)[len(durations) // 2] / 1000.0
