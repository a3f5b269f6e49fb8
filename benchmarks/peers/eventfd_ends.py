"""One end of a wake-up by eventfd or of a round trip by a pipe, both in plain Python with what it brings
along: `eventfd_ends.py MODE COUNT IDLE_NS CPU CPU`. Prints {"median_ns": ..}.

Modes: eventfd (the reader blocks in os.eventfd_read, the time travels in shared memory) and pipe
(multiprocessing.Pipe, 192 bytes there and back by send_bytes and recv_bytes).
"""

from __future__ import annotations

import json
import mmap
import multiprocessing
import os
import statistics
import sys
import time

WARM = 200


def wake(count: int, idle_ns: int, cpus: list[int]) -> float:
    fd, seen, memory = os.eventfd(0), os.eventfd(0), mmap.mmap(-1, 4096)
    stamp = memoryview(memory).cast("q")
    get, give = os.pipe()
    now_ns = time.monotonic_ns
    if not os.fork():
        os.sched_setaffinity(0, {cpus[1]})
        found = []
        for _ in range(count + WARM):
            os.eventfd_read(fd)
            found.append(now_ns() - stamp[0])
            os.eventfd_write(seen, 1)
        os.write(give, str(statistics.median(found[WARM:])).encode())
        os._exit(0)
    os.sched_setaffinity(0, {cpus[0]})
    for _ in range(count + WARM):
        until_ns = now_ns() + idle_ns
        while now_ns() < until_ns:
            pass
        stamp[0] = now_ns()
        os.eventfd_write(fd, 1)
        os.eventfd_read(seen)
    answer = float(os.read(get, 100))
    os.wait()
    return answer


def round_trip(count: int, cpus: list[int]) -> float:
    here, there = multiprocessing.Pipe()
    if not os.fork():
        os.sched_setaffinity(0, {cpus[1]})
        for _ in range(count + WARM):
            there.send_bytes(there.recv_bytes())
        os._exit(0)
    os.sched_setaffinity(0, {cpus[0]})
    record, started_ns = bytes(192), 0
    for i in range(count + WARM):
        if i == WARM:
            started_ns = time.monotonic_ns()
        here.send_bytes(record)
        here.recv_bytes()
    took_ns = time.monotonic_ns() - started_ns
    os.wait()
    return took_ns / count


def main(mode: str, count: str, idle_ns: str, *cpus: str) -> None:
    cores = list(map(int, cpus))
    pipe = mode == "pipe"
    figure = round_trip(int(count), cores) if pipe else wake(int(count), int(idle_ns), cores)
    print(json.dumps({"median_ns": figure}))


if __name__ == "__main__":
    main(*sys.argv[1:])
