"""Cold: the bare receivers beside the engine: the same generator, frames, gaps and machine, no engine.

One process per connection (load/bare.py), as many as the engine had. Two uses: the least time from
intended send to callback (profile pool), and what the generator can send when nobody computes
anything (profile flood): it must be more than the engine takes.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from cython_peers import extension

from kite_hft.brokers.table import words_of
from kite_hft.sim.market.keys import with_upstox_keys
from kite_hft.sim.market.universe import default_instruments
from load import lag
from load.frames_v3 import STAMP_FROM_END
from load.measuring import Progress
from load.rig import Child, Rig, start
from load.upstox_peer import FEED

BARE_S: Final = 20.0
CAPACITY_S: Final = 3.0


@dataclass(slots=True)
class Receivers:
    """Running receivers, connected to the rig's new generator."""

    children: list[Child] = field(default_factory=list)

    def reset(self) -> None:
        for child in self.children:
            assert child.process.stdin is not None
            child.process.stdin.write(b"reset\n")
            child.process.stdin.flush()

    def ended(self) -> list[dict[str, Any]]:
        """What each of them counted since the reset."""
        found = []
        for child in self.children:
            assert child.process.stdin is not None
            child.process.stdin.close()
            found.append(json.loads(child.line(30.0) or "{}"))
        return found


@contextlib.contextmanager
def receivers(rig: Rig, connections: int) -> Iterator[Receivers]:
    """So many receivers that share the load's instruments, and a new generator for them."""
    extension("stamp_listener")  # built once, not by each of them
    rig.start_generator()
    table = with_upstox_keys(default_instruments(rig.load.instruments, rig.load.seed)[0])
    words, upstox = words_of(rig.load.broker, table), rig.load.broker == "upstox"
    query = f"{FEED}?code=1" if upstox else "?api_key=key&access_token=token"
    made = Receivers()
    try:
        for number, mine in enumerate(np.array_split(table.tokens(), connections)):
            messages = words.subscription(mine.tolist(), rig.load.mode)
            path = rig.folder / f"bare-{number}.json"
            path.write_text(json.dumps({
                "url": rig.ws_url + query, "binary": words.binary, "stamp_from_end": STAMP_FROM_END * upstox,
                "messages": [message.decode() for message in messages],
            }))  # fmt: skip
            argv = [sys.executable, "-m", "load.bare", str(path)]
            made.children.append(start(f"bare-{number}", argv, rig.folder))
        rig.await_clients(made.children)
        yield made
    finally:
        for child in made.children:
            child.end()


def send(rig: Rig, rate: float, seconds: float, made: Receivers, warm_s: float) -> dict[str, Any]:
    """One schedule; the counts start at warm_s."""
    generator = rig.generator
    assert generator is not None
    generator.tell(do="send", rate=rate, seconds=seconds, burst=rig.load.burst)
    time.sleep(warm_s)
    made.reset()
    text = generator.line(seconds + 30)
    found: dict[str, Any] = json.loads(text or "{}")
    time.sleep(0.05)  # what is still in the sockets
    return found


def run_bare(rig: Rig, connections: int, progress: Progress) -> dict[str, Any]:
    """Intended send to callback at the load's own frames and gaps."""
    warm_s, seconds = 1.0, min(BARE_S, rig.load.duration_s)
    progress("bare receiver", 0.0, f"{connections} connections, {seconds:g} s")
    with receivers(rig, connections) as made:
        sent = send(rig, rig.load.rate, warm_s + seconds, made, warm_s)
        found = made.ended()
    progress("bare receiver", 1.0, "")
    buckets = np.sum([np.array(f["buckets"], np.uint64) for f in found], axis=0)
    return {
        "send_to_callback": lag.told(buckets),
        "generator_lag_us": lag.told(lag.dense(sent["lag"])),
        "frames": sum(f["frames"] for f in found),
        "connections_bytes": sum(f["grown_bytes"] for f in found),
    }


def capacity(rig: Rig, connections: int, progress: Progress) -> dict[str, Any]:
    """Ticks a second that the generator sends, stamps and prices included, when only receiving is done."""
    progress("generator alone", 0.0, f"{CAPACITY_S:g} s as fast as a bare receiver takes it")
    with receivers(rig, connections) as made:
        sent = send(rig, 0.0, CAPACITY_S, made, 0.5)
        made.ended()
    progress("generator alone", 1.0, "")
    return {
        "ticks_per_s": sent["ticks"] / sent["seconds"],
        "of_a_core": sent["cpu_s"] / sent["seconds"],
        "ticks_per_cpu_s": sent["ticks"] / max(1e-9, sent["cpu_s"]),
    }
