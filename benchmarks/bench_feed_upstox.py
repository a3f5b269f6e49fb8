"""Upstox's market feed from the socket on, beside the official client's MarketDataStreamerV3.

    python benchmarks/bench_feed_upstox.py [--rounds 7] [--quick]

One sender (peers/v3_server.py, pinned to the last core) has live V3 frames of 50 keys and of one key in mode
full encoded beforehand, over 2,000 keys; every receiver is a process of its own on the first core and gets
the same frames, all over TLS, as the official client's address asks for.

kite_hft         the feed's own parts as its process has them: link, compiled sink, decoder, tick ring, latest
                 table, counters and checksum; TLS verified
kite_hft, plain  the same without TLS
SDK              MarketDataStreamerV3, unchanged, in a process of its own, with a callback that counts; its
                 fixed address is reached through the proxy that the environment names; TLS not verified (it
                 never does)

Measured: instruments per CPU second (CLOCK_THREAD_CPUTIME_ID, user and kernel) of the thread that receives,
decodes and hands on, from the first tenth of the frames to the last one; and, at 1,000 instruments a second
in frames of 50, the time from the moment at which a frame was to leave until its ticks are in the ring, or
the callback is called.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import kit
from cython_peers import extension

from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments

KEYS: Final = 2000
SIZES: Final = (50, 1)
PLAIN: Final = "kite_hft, plain"
# Instruments that take about half a CPU second, by name and size of a frame.
INSTRUMENTS: Final = {kit.OURS: (800_000, 200_000), PLAIN: (1_000_000, 250_000), "SDK": (6_000, 5_000)}
PACED_FRAMES: Final = 100
PACED_GAP_US: Final = 50_000
AT_LEAST: Final = 50


@dataclass(frozen=True, slots=True)
class Sender:
    """A running sender: its port, what it sends, and the certificate that it shows."""

    port: int
    size: int
    certificate: Path
    keys: Path


@contextlib.contextmanager
def certified() -> Iterator[Path]:
    """A folder with cert.pem and key.pem of localhost, good for this run alone."""
    with tempfile.TemporaryDirectory(prefix="kite_hft-feed-") as folder:
        made = Path(folder)
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-batch"]
        command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        command += ["-keyout", str(made / "key.pem"), "-out", str(made / "cert.pem")]
        subprocess.run(command, check=True, capture_output=True)
        table = with_upstox_keys(default_instruments(KEYS, 1)[0])
        (made / "keys.json").write_text(json.dumps([row.upstox_key for row in table]))
        yield made


@contextlib.contextmanager
def sender(folder: Path, size: int, cpu: int, query: str) -> Iterator[Sender]:
    """A sender while it runs. query: what a client gets that asks for nothing."""
    command = [sys.executable, str(kit.PEERS / "v3_server.py"), str(KEYS), str(size)]
    command += [str(folder / "cert.pem"), str(folder / "key.pem"), "--cpu", str(cpu)]
    environment = paths() | {"V3_QUERY": query}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stdout is not None and server.stdin is not None
        try:
            port = int(server.stdout.readline())
            yield Sender(port, size, folder / "cert.pem", folder / "keys.json")
        finally:
            server.stdin.close()


def paths() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{kit.ROOT / 'src'}{os.pathsep}{kit.HERE}"}


def told(command: list[object], environment: dict[str, str]) -> dict[str, Any]:
    """The JSON line that a receiver prints."""
    words = [sys.executable, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment, timeout=400)
    if done.returncode or not done.stdout:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def receive(name: str, at: Sender, instruments: int, cpu: int, query: str) -> dict[str, Any]:
    """What one receiver counted."""
    warm = instruments // 10
    if name == "SDK":
        environment = paths() | {"https_proxy": f"http://127.0.0.1:{at.port}", "no_proxy": ""}
        words: list[object] = [
            kit.PEERS / "feed_sdk.py",
            at.keys,
            warm // at.size,
            instruments // at.size,
            cpu,
        ]
        return told(words, environment)
    scheme = "ws" if name == PLAIN else "wss"
    url = f"{scheme}://localhost:{at.port}/?{query}"
    environment = paths() | {"SSL_CERT_FILE": str(at.certificate)}
    return told([kit.PEERS / "feed_here.py", url, KEYS, warm, instruments, cpu], environment)


def rate(name: str, at: Sender, instruments: int, cpu: int) -> float:
    """Instruments per CPU second."""
    frames = instruments // at.size + 10 * KEYS
    found = receive(name, at, instruments, cpu, f"n={frames}&gap_us=0")
    return float(found["instruments"] / found["cpu_s"])


def delay(name: str, at: Sender, cpu: int, frames: int, query: str) -> float:
    """Median latency of paced frames, us."""
    found = receive(name, at, frames * at.size, cpu, query)
    return float(statistics.median(found["latency_us"]))


def main() -> None:
    options = kit.options(__doc__).parse_args()
    rounds = 1 if options.quick else options.rounds
    cpus = sorted(os.sched_getaffinity(0))
    extension("patch")
    notes = {"SDK": f"upstox-python-sdk {version('upstox-python-sdk')}, protobuf {version('protobuf')}"}
    rows = []
    with certified() as folder:
        for number, size in enumerate(SIZES):
            targets = [kit.Target("SDK", at_least=AT_LEAST)] if number == 0 else ()
            name = f"feed Upstox, full frames of {size}, {KEYS:,} keys, TLS"
            row = kit.Row(name, "instruments per CPU second", "more", targets, notes=dict(notes))
            with sender(folder, size, cpus[-1], "n=1000000000&gap_us=0") as at:
                runs: dict[str, Callable[[], float]] = {}
                for who, counts in INSTRUMENTS.items():
                    n = counts[number] // (10 if options.quick else 1) // KEYS * KEYS or KEYS
                    runs[who] = functools.partial(rate, who, at, n, cpus[0])
                rows.append(kit.measure(row, runs, rounds))
        frames = PACED_FRAMES // (5 if options.quick else 1)
        query = f"n={frames}&gap_us={PACED_GAP_US}"
        row = kit.Row(
            "feed Upstox, frame of 50 to ticks or callback, p50",
            "us after its time",
            "less",
            notes=dict(notes),
        )
        with sender(folder, SIZES[0], cpus[-1], query) as at:
            runs = {who: functools.partial(delay, who, at, cpus[0], frames, query) for who in INSTRUMENTS}
            rows.append(kit.measure(row, runs, rounds))
    kit.write("feed_upstox", rows, options.json)


if __name__ == "__main__":
    main()
