"""Ticks of 192 bytes from process to process through a Python queue, for bench_ring.

    python queue_ends.py multiprocessing|faster-fifo TICKS TICKS_PER_PUT WRITER_CPU READER_CPU

Both pickle what they carry: here `bytes` of one tick, or of many in one put. faster-fifo hands its reader all
that is there at once (get_many), as it is meant to be used. Prints one JSON line: ticks a second from
the first put to the last get (CLOCK_MONOTONIC) and whether all came in order.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import queue
import struct
import sys
import time
from typing import Any

TICK_BYTES = 192
NUMBER = struct.Struct("<Q")


def write(channel: Any, puts: int, per_put: int, cpu: int, go: Any, started: Any) -> None:
    os.sched_setaffinity(0, {cpu})
    rest = bytes(TICK_BYTES * per_put - NUMBER.size)
    go.wait()
    started.value = time.monotonic_ns()
    for number in range(puts):
        message = NUMBER.pack(number) + rest
        while True:
            try:
                channel.put(message)
                break
            except queue.Full:
                pass


def read(channel: Any, puts: int, many: bool) -> bool:
    """Whether every message came, in order."""
    expected = 0
    while expected < puts:
        try:
            messages = channel.get_many() if many else (channel.get(),)
        except queue.Empty:
            continue
        for message in messages:
            if NUMBER.unpack_from(message)[0] != expected:
                return False
            expected += 1
    return True


def main() -> None:
    kind, ticks, per_put, writer_cpu, reader_cpu = sys.argv[1], *map(int, sys.argv[2:])
    puts, many = ticks // per_put, kind == "faster-fifo"
    channel: Any
    if many:
        from faster_fifo import Queue

        channel = Queue(64 << 20)
    else:
        channel = multiprocessing.Queue()
    go, started = multiprocessing.Event(), multiprocessing.Value("q", 0)
    writer = multiprocessing.Process(target=write, args=(channel, puts, per_put, writer_cpu, go, started))
    writer.start()
    os.sched_setaffinity(0, {reader_cpu})
    go.set()
    right = read(channel, puts, many)
    seconds = (time.monotonic_ns() - started.value) / 1e9
    writer.join()
    print(json.dumps({"per_second": puts * per_put / seconds, "right": right}))


if __name__ == "__main__":
    main()
