"""The 2-state Kalman filter (price and velocity) of 9,000 instruments, whole vectors and tick by tick.

    python benchmarks/bench_kalman.py [--instruments 9000] [--rounds 7] [--quick]

Million measurements per CPU second of the measuring thread (CLOCK_THREAD_CPUTIME_ID), nothing
pinned, no memory allocated while the clock runs; of ours and the C twins the median of five passes
after others that bring the core up to speed. All start from the state 0 and the covariance 1,
with Q = 1e-4 on both diagonal elements, R = 1e-2, and a step of one tick.

whole vector: one measurement of every instrument at a time. Ours is one call from Python a vector
(`kalman2_step`), the C twin (peers/c/kalman.c, AVX-512 written out) one call for all vectors.
simdkalman runs its own loop over time; filterpy has one object an instrument.

tick by tick: measurements in random order of instruments, a price and a velocity after each, the
whole stream in one call. Ours is `kalman2_stream`; the C twin is plain C. "default kernels" is what
the engine runs, on TICK records in batches of 1,000: both filters, four bar periods, checksum, a
row a tick.

Ours and the C twins end in the same bits, and the packages within 1e-9 of them, or nothing is
written.
"""

from __future__ import annotations

import contextlib
import ctypes
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kit
import lasting
import numpy as np
import tick_data

from kite_hft import _kalman, _kernels
from kite_hft.layout import BAR, KERNEL_ROW

Q, R = 1e-4, 1e-2
BATCH = 1000
STEPS = 20  # distinct vectors, taken again and again


def library() -> ctypes.CDLL:
    """The C twins."""
    made = ctypes.CDLL(str(kit.compiled("kalman.c", shared=True)))
    pointer, size, real = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_double
    made.whole_vector.argtypes = [pointer, size, size, real, real, *[pointer] * 5]
    made.tick_by_tick.argtypes = [pointer, pointer, size, real, real, pointer, pointer]
    made.whole_vector.restype = made.tick_by_tick.restype = None
    return made


def vector_state(n: int) -> np.ndarray:
    """(5, n): state 0, covariance 1."""
    state = tick_data.aligned((5, n), np.float64)
    state[2] = state[4] = 1.0
    return state


def stream_state(n: int) -> np.ndarray:
    """(n, 8): the same, one cache line a filter."""
    state = tick_data.aligned((n, 8), np.float64)
    state[:, 2] = state[:, 4] = 1.0
    return state


def agree(name: str, found: object, expected: object) -> None:
    """Raises SystemExit: the contenders do not compute the same."""
    if not np.allclose(found, expected, rtol=1e-9, atol=0.0):
        raise SystemExit(f"bench: {name} comes to {found}, ours to {expected}")


def vectors(twins: ctypes.CDLL, n: int, passes: int, rounds: int) -> kit.Row:
    """The row of whole vectors."""
    z = 100.0 + np.random.default_rng(1).normal(size=(STEPS, n))
    mine, his = vector_state(n), vector_state(n)
    rows_of_twin = [row.ctypes.data for row in his]

    def ours() -> float:
        steps = list(z)
        began = time.thread_time()
        for _ in range(passes):
            for measured in steps:
                _kalman.kalman2_step(measured, mine, Q, R)
        return passes * z.size / (time.thread_time() - began) / 1e6

    def twin() -> float:
        began = time.thread_time()
        for _ in range(passes):
            twins.whole_vector(z.ctypes.data, STEPS, n, Q, R, *rows_of_twin)
        return passes * z.size / (time.thread_time() - began) / 1e6

    row = kit.Row(
        f"2-state Kalman, {n:,} instruments, whole vector", "M measurements/s", "more",
        [kit.Target("C, AVX-512", at_least=0.9)],
    )  # fmt: skip
    contenders: dict[str, Callable[[], float]] = {
        kit.OURS: tick_data.settled(ours), "C, AVX-512": tick_data.settled(twin),
    }  # fmt: skip
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        np.save(Path(folder, "z.npy"), z)
        for name, steps in (("simdkalman", STEPS), ("filterpy", 1)):
            ask = stack.enter_context(lasting.rival("kernels", "kalman_packages.py", name, folder, steps))
            if ask is None:
                row.notes[name] = "cannot be installed"
                continue
            answer, state = ask(), vector_state(n)
            for measured in z[:steps]:
                _kalman.kalman2_step(measured, state, Q, R)
            agree(name, answer["prices"], state[0, :8])
            row.notes[name] = answer["version"]
            contenders[name] = lasting.figure(ask)
        kit.measure(row, contenders, rounds)
    mine[:] = his[:] = vector_state(n)
    ours()
    twin()
    if mine.tobytes() != his.tobytes():
        raise SystemExit("bench: the vectors of the C twin are not ours")
    return row


def stream(twins: ctypes.CDLL, n: int, total: int, rounds: int) -> kit.Row:
    """The row of single measurements in random order."""
    ticks = tick_data.walk(n, total, 2.0)
    slots = ticks["slot"].copy()
    z = ticks["last_px"] / 100.0
    mine, his = stream_state(n), stream_state(n)
    out_mine, out_his = np.zeros((total, 2)), np.zeros((total, 2))
    rows, bars = np.zeros(BATCH, KERNEL_ROW), np.zeros(BATCH * _kernels.PERIODS, BAR)

    def ours() -> float:
        began = time.thread_time()
        _kalman.kalman2_stream(slots, z, mine, out_mine, Q, R)
        return total / (time.thread_time() - began) / 1e6

    def twin() -> float:
        began = time.thread_time()
        twins.tick_by_tick(
            slots.ctypes.data, z.ctypes.data, total, Q, R, his.ctypes.data, out_his.ctypes.data
        )
        return total / (time.thread_time() - began) / 1e6

    def default_kernels() -> float:
        kernels = _kernels.Kernels(n)
        return tick_data.rate(ticks, BATCH, lambda part: kernels.run(part, len(part), rows, bars))

    row = kit.Row(
        f"2-state Kalman, {n:,} instruments, tick by tick", "M measurements/s", "more",
        [kit.Target("C, scalar", at_least=0.9)],
        notes={
            "default kernels": "both filters, bars, checksum on TICK records",
            "simdkalman": "whole vectors only",
            "filterpy": "as above: each object by itself",
        },
    )  # fmt: skip
    contenders = {kit.OURS: ours, "C, scalar": twin, "default kernels": default_kernels}
    kit.measure(row, {name: tick_data.settled(once) for name, once in contenders.items()}, rounds)
    mine[:] = his[:] = stream_state(n)
    ours()
    twin()
    if mine.tobytes() != his.tobytes() or out_mine.tobytes() != out_his.tobytes():
        raise SystemExit("bench: the stream of the C twin is not ours")
    return row


def main() -> None:
    parser = kit.options(__doc__)
    parser.add_argument("--instruments", type=int, default=9000)
    args = parser.parse_args()
    twins, rounds = library(), 2 if args.quick else args.rounds
    n, passes, total = args.instruments, 5 if args.quick else 50, 100_000 if args.quick else 500_000
    rows = [vectors(twins, n, passes, rounds), stream(twins, n, total, rounds)]
    kit.write("kalman", rows, args.json)


if __name__ == "__main__":
    main()
