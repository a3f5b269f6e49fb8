"""Writers killed at every store of a publish, and just anywhere: what readers and the supervisor see."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import segments

from kite_hft import _ring, _ring_faults, layout
from kite_hft.layout import SegmentKind
from kite_hft.memory import generations, segment
from kite_hft.memory.generations import WriterLife
from kite_hft.verify.memory.ring_worker import Payload

KIND = SegmentKind.TICK_RING
CAPACITY = 64
BATCH = 10
DONE = 7  # whole batches before the deadly one: the ring has been lapped once

CRASHING = """
import sys
from pathlib import Path
from kite_hft import _ring_faults
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.verify.memory.ring_worker import Payload
path, point, after, batch, done = Path(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:])
held = segment.attach(path, SegmentKind.TICK_RING, writable=True)
writer, payload = _ring_faults.FaultyWriter(held.view), Payload(batch)
for i in range(done):
    writer.publish(payload.fill(i * batch, batch))
_ring_faults.crash_at(point, after)
writer.publish(payload.fill(done * batch, batch))
sys.exit("survived")
"""

RUNNING = """
import sys, time
from pathlib import Path
from kite_hft import _ring
from kite_hft.layout import SegmentKind
from kite_hft.memory import segment
from kite_hft.verify.memory.ring_worker import Payload
held = segment.attach(Path(sys.argv[1]), SegmentKind.TICK_RING, writable=True)
writer, payload = _ring.RingWriter(held.view), Payload(100)
writer.heartbeat(time.monotonic_ns())
print("ready", flush=True)
while True:
    if sys.argv[2] == "busy":
        writer.publish(payload.fill(writer.next_seq, 100))
    else:
        time.sleep(1)
"""

WORDS = BATCH * Payload(1).records.nbytes // 8
POINTS = [("start", 0), ("intent", 0), ("head", 0), ("wake", 0)]
POINTS += [("word", at) for at in (0, 1, 23, 24, WORDS // 2, WORDS - 1)]
POINTS += [("stamp", at) for at in (0, 4, BATCH - 1)]


def test_the_points_are_all_points() -> None:
    assert {point for point, _after in POINTS} == set(_ring_faults.CRASH_POINTS)


@pytest.mark.parametrize(("point", "after"), POINTS)
def test_a_writer_killed_at_any_store(tmp_path: Path, point: str, after: int) -> None:
    path = segments.make(tmp_path, KIND, CAPACITY)
    arguments = [str(path), point, str(after), str(BATCH), str(DONE)]
    child = subprocess.run([sys.executable, "-c", CRASHING, *arguments], capture_output=True, timeout=60)
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    published = point in ("head", "wake")
    announced = point != "start"
    head = (DONE + published) * BATCH
    end = (DONE + announced) * BATCH
    with segment.attach(path, KIND, writable=False) as watching:
        inside = announced and not published
        life = generations.writer_life(watching, time.monotonic_ns())
        assert life is (WriterLife.STALLED if inside else WriterLife.DEAD)
        reader, payload = _ring.RingReader(watching.view, 0), Payload(CAPACITY)
        assert reader.writer_mid_batch() == inside
        got = reader.drain(payload.records)
        assert got == CAPACITY - (end - head)
        assert payload.wrong(reader.first_seq, got) == 0
        assert [reader.drain(payload.records) for _ in range(100)] == [0] * 100
        assert got + reader.lost == reader.position == head
        made = generations.next_generation(path, KIND, **segments.now())
        assert reader.finished()
        with segment.attach(made, KIND, writable=True) as fresh:
            writer, following = _ring.RingWriter(fresh.view), _ring.RingReader(fresh.view, reader.position)
            assert writer.publish(payload.fill(end, BATCH)) == end
            assert following.lost == end - head
            assert following.drain(payload.records) == BATCH


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return segments.make(tmp_path, KIND, 1 << 10)


@pytest.fixture
def running(path: Path, request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[bytes]]:
    child = subprocess.Popen(
        [sys.executable, "-c", RUNNING, str(path), request.param], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    with child.stdout:
        assert child.stdout.readline() == b"ready\n"
        yield child
        child.kill()
        child.wait()


@pytest.mark.parametrize("running", ["busy"], indirect=True)
def test_a_killed_writer_is_dead_before_it_is_reaped(path: Path, running: subprocess.Popen[bytes]) -> None:
    with segment.attach(path, KIND, writable=False) as watching:
        reader, payload = _ring.RingReader(watching.view, 0), Payload(500)
        got = 0
        while reader.head() < 100_000:
            n = reader.drain(payload.records)
            assert payload.wrong(reader.first_seq, n) == 0
            got += n
        assert generations.writer_life(watching, time.monotonic_ns()) is WriterLife.ALIVE
        running.kill()
        while generations.writer_life(watching, time.monotonic_ns()) is WriterLife.ALIVE:
            pass
        # Not waited for: on its way out, or a zombie, with its pid, and yet known to be dead.
        while Path(f"/proc/{running.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            assert generations.writer_life(watching, time.monotonic_ns()) is not WriterLife.ALIVE
        assert generations.writer_life(watching, 0) in (WriterLife.DEAD, WriterLife.STALLED)
        while n := reader.drain(payload.records):
            assert payload.wrong(reader.first_seq, n) == 0
            got += n
        assert got + reader.lost == reader.position == reader.head()
        generations.next_generation(path, KIND, **segments.now())


@pytest.mark.parametrize("running", ["hung"], indirect=True)
def test_hung_is_told_from_dead_and_a_second_writer_is_refused(
    path: Path, running: subprocess.Popen[bytes]
) -> None:
    with segment.attach(path, KIND, writable=False) as watching:
        beat = int(watching.control()["heartbeat_ns"])
        assert generations.writer_life(watching, beat + 1) is WriterLife.ALIVE
        assert generations.writer_life(watching, beat + generations.HUNG_AFTER_NS + 1) is WriterLife.HUNG
        with pytest.raises(segment.WriterAlive, match=f"process {running.pid} writes it"):
            segment.attach(path, KIND, writable=True)
        with pytest.raises(segment.WriterAlive):
            generations.next_generation(path, KIND, **segments.now())
        running.kill()
        running.wait()
        assert generations.writer_life(watching, beat) is WriterLife.DEAD
        segment.attach(path, KIND, writable=True).close()
    assert np.zeros(1, layout.TICK).nbytes == 192
