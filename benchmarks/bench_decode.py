"""Kite's full packets to TICK records, beside copying their bytes and every other way to parse them.

    python benchmarks/bench_decode.py [--instruments 9000] [--rounds 7] [--quick]

Frames of 100 full packets, one packet of each of 9,000 instruments (1.7 MB), to an array of as many
192-byte TICKs, again and again. Measured: packets per CPU second (CLOCK_THREAD_CPUTIME_ID) of the one
thread that decodes, pinned to the first core; each figure is the mean over a fifth of a second. Before
anything is timed, the records of all twins are compared, byte for byte.

kite_hft            KiteDecoder.decode_frames: the path that this processor can take (the row's note
                    says which); lookup of the token, all checks, counters and checksum included
kite_hft, portable  the same decoder without AVX-512
memcpy              the frames' bytes copied to another place, nothing else (numpy.copyto of one array)
C scalar            shifts, field by field, -O3 -march=native (peers/c/kite_scalar.c)
numpy               column by column over each frame (peers/decode_numpy.py)
pykiteconnect       KiteTicker._parse_binary of the official client, in an environment of its own
"""

from __future__ import annotations

import ctypes
import functools
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import kit
import numpy as np

sys.path.insert(0, str(kit.PEERS))
from decode_numpy import NumpyDecoder

from kite_hft import _kite_decode
from kite_hft.layout import TICK
from kite_hft.sim.kite.frames import FULL, encode_frames
from kite_hft.sim.market.synthetic import SyntheticMarket
from kite_hft.sim.market.universe import default_instruments

PACKETS_PER_FRAME: Final = 100
RECV_NS: Final = 1_000_000_007
SECONDS: Final = 0.2


def make_frames(instruments: int) -> tuple[np.ndarray[Any, Any], list[bytes]]:
    """(tokens, frames): one tick of every instrument, in whole frames."""
    table, base_px = default_instruments(instruments, 1)
    market = SyntheticMarket(table, base_px, 1.0, 1, 1_765_770_000_000_000_000)
    tokens = table.tokens()
    tokens = np.where(tokens & 0xFF == 9, tokens - 8, tokens).astype(np.uint32)  # all of them tradable
    modes = np.full(len(tokens), FULL, np.uint8)
    return tokens, encode_frames(market.opening(), tokens, modes, PACKETS_PER_FRAME)


def per_second(work: Callable[[], object], packets: int, seconds: float) -> float:
    """Packets per CPU second of this thread."""
    done, start = 0, time.thread_time()
    while (spent := time.thread_time() - start) < seconds:
        work()
        done += packets
    return done / spent


def scalar(tokens: np.ndarray[Any, Any], frames: list[bytes], out: np.ndarray[Any, Any]) -> Callable[[], int]:
    """The C twin over all frames in one call."""
    library = ctypes.CDLL(str(kit.compiled("kite_scalar.c", shared=True)))
    whole = np.frombuffer(b"".join(frames), np.uint8)
    offsets = np.cumsum([0, *map(len, frames)]).astype(np.uint64)
    if library.scalar_open(ctypes.c_void_p(tokens.ctypes.data), ctypes.c_uint32(len(tokens))):
        raise MemoryError
    library.scalar_decode.restype = ctypes.c_int64
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    arguments = (
        pointer(whole.ctypes.data), pointer(offsets.ctypes.data), number(len(frames)), number(RECV_NS),
        pointer(out.ctypes.data),
    )  # fmt: skip

    def decode(keep: object = (tokens, whole, offsets, out)) -> int:
        return int(library.scalar_decode(*arguments))

    return decode


def sdk(path: Path, frame_bytes: int, seconds: float, cpu: int, row: kit.Row) -> float:
    """The official parser in its own environment and process."""
    found = kit.peer("clients", "decode_sdk.py", path, frame_bytes, seconds, cpu)
    if found is None:
        raise SystemExit("pykiteconnect did not run")
    row.notes["pykiteconnect"] = str(found["version"])
    return float(found["per_second"])


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    options = parser.parse_args()
    rounds, seconds = (1, SECONDS / 4) if options.quick else (options.rounds, SECONDS)
    cpu = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cpu})
    n = options.instruments // PACKETS_PER_FRAME * PACKETS_PER_FRAME
    tokens, frames = make_frames(n)
    slots = np.arange(n, dtype=np.uint32)
    wide = _kite_decode.KiteDecoder(tokens, slots)
    plain = _kite_decode.KiteDecoder(tokens, slots, portable=True)
    columns = NumpyDecoder(tokens)
    outs = [np.zeros(n, TICK) for _ in range(4)]
    whole = np.frombuffer(b"".join(frames), np.uint8)
    copy = np.empty_like(whole)
    work: dict[str, Callable[[], object]] = {
        kit.OURS: lambda: wide.decode_frames(frames, outs[0], RECV_NS),
        "kite_hft, portable": lambda: plain.decode_frames(frames, outs[1], RECV_NS),
        "memcpy": lambda: np.copyto(copy, whole),
        "C scalar": scalar(tokens, frames, outs[2]),
        "numpy": lambda: columns.decode_frames(frames, outs[3], RECV_NS),
    }
    for run in work.values():
        run()
    if wide.decoded != n or any(out.tobytes() != outs[0].tobytes() for out in outs):
        raise SystemExit("the decoders do not agree")
    targets = [kit.Target("memcpy", at_least=0.5), kit.Target("pykiteconnect", at_least=900)]
    row = kit.Row(f"decode Kite full packets, {n:,} instruments", "packets per CPU second", "more", targets)
    row.notes[kit.OURS] = wide.path
    contenders = {name: functools.partial(per_second, run, n, seconds) for name, run in work.items()}
    with tempfile.NamedTemporaryFile(suffix=".frames") as file:
        file.write(whole.tobytes())
        file.flush()
        if kit.environment("clients") is None:
            row.notes["pykiteconnect"] = "the package cannot be installed here"
        else:
            contenders["pykiteconnect"] = functools.partial(
                sdk, Path(file.name), len(frames[0]), seconds, cpu, row
            )
        kit.measure(row, contenders, rounds)
    kit.write("decode", [row], options.json)


if __name__ == "__main__":
    main()
