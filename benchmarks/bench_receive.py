"""Websocket frames from a loopback socket into our sink, beside every other way to receive them.

    python benchmarks/bench_receive.py [--rounds 7] [--quick]

Frames of 200 bytes (one Kite packet and a little) and of 18,602 bytes (100 full packets) come from
one sender process that has them built beforehand (peers/frame_server.py). It is pinned to the last
core; each receiver is a process of its own, pinned to the first one, that counts frames and bytes.

Measured: frames per CPU second (CLOCK_THREAD_CPUTIME_ID, user and kernel) of the receiving thread,
from the first tenth of the frames to the last one; connecting, importing and closing are outside.
Waiting costs a receiver nothing: only what its thread burns counts. As many frames are sent to each
as take it about half a second. A receiver that counts another number of bytes than were sent fails.

kite_hft           FeedLink + FrameListener with a counting sink, under uvloop, as the engine runs it
picows             a compiled listener that counts and looks at nothing, picows' defaults, uvloop
picows-large       the same with the read buffer size that we set, and no automatic pong
KiteTicker, websocket-client, websockets, aiohttp   as their documentation has it, newest versions
C recv             recv into a buffer of 256 KiB and a walk over the frame headers
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

import kit
from cython_peers import extension

SIZES: Final = {"200 B": 200, "18.6 kB": 18_602}
# Frames that take about half a CPU second: by name, for each size.
FRAMES: Final = {
    "kite_hft": (3_000_000, 150_000),
    "picows": (3_000_000, 150_000),
    "picows-large": (3_000_000, 150_000),
    "C recv": (6_000_000, 150_000),
    "aiohttp": (200_000, 50_000),
    "websockets": (40_000, 15_000),
    "websocket-client": (30_000, 15_000),
    "KiteTicker": (20_000, 10_000),
}
HERE_NAMES: Final = ("kite_hft", "picows", "picows-large")


@contextlib.contextmanager
def sender(cpu: int) -> Iterator[int]:
    """The frame server's port while it runs."""
    command = [sys.executable, str(kit.PEERS / "frame_server.py"), "--cpu", str(cpu)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None and server.stdin is not None
        try:
            yield int(server.stdout.readline())
        finally:
            server.stdin.close()


def local(*command: object) -> dict[str, Any]:
    """The JSON line that a program prints."""
    words = list(map(str, command))
    environment = os.environ | {"PYTHONPATH": str(kit.ROOT / "src")}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def receive(name: str, payload_bytes: int, frames: int, port: int, cpu: int, row: kit.Row) -> float:
    """Frames per CPU second of one receiver."""
    warm, path = frames // 10, f"/{payload_bytes}/{frames}"
    url = f"ws://127.0.0.1:{port}{path}"
    found: dict[str, Any] | None
    if name == "C recv":
        found = local(kit.compiled("ws_receive.c"), port, path, warm, frames, cpu)
    elif name in HERE_NAMES:
        found = local(sys.executable, kit.PEERS / "receive_here.py", name, url, warm, frames, cpu)
    else:
        found = kit.peer("clients", "receive_packages.py", name, url, warm, frames, cpu)
    if found is None:
        raise SystemExit(f"{name} did not run")
    if found["bytes"] != frames * payload_bytes:
        raise SystemExit(f"{name} counted {found['bytes']} bytes of {frames * payload_bytes}")
    if "version" in found:
        row.notes[name] = str(found["version"])
    return float(found["frames"] / found["cpu_s"])


def main() -> None:
    options = kit.options(__doc__).parse_args()
    rounds = 1 if options.quick else options.rounds
    cpus = sorted(os.sched_getaffinity(0))
    extension("listener")
    kit.compiled("ws_receive.c")
    names = list(FRAMES)
    missing = kit.environment("clients") is None
    if missing:
        names = [n for n in names if n in HERE_NAMES or n == "C recv"]
    rows = []
    with sender(cpus[-1]) as port:
        for number, (size, payload_bytes) in enumerate(SIZES.items()):
            targets = [kit.Target("picows", at_least=0.9), kit.Target("picows-large", at_least=0.9)]
            row = kit.Row(f"websocket receive, frames of {size}", "frames per CPU second", "more", targets)
            runs: dict[str, Callable[[], float]] = {}
            for name in names:
                frames = FRAMES[name][number] // (10 if options.quick else 1)
                runs[name] = functools.partial(receive, name, payload_bytes, frames, port, cpus[0], row)
            rows.append(kit.measure(row, runs, rounds))
            if missing:
                row.notes["KiteTicker, websockets, ..."] = "their packages cannot be installed here"
    kit.write("receive", rows, options.json)


if __name__ == "__main__":
    main()
