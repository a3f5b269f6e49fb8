"""Layer 4, simulator, cold: the engine's own recordings as a source of ticks, and their packets.

Compact rows give what a TICK's hot line holds: best bid and ask without quantities, no deeper
levels; what is absent is 0. Raw frames give everything. Kite's packets are served again as they were
recorded, bit by bit, to whoever asks for the mode they came in; of Upstox's frames each tick keeps what
it carried over from the messages before it, so that it is served whole (sim/upstox/recorded.py). Where a
connection was recorded in both formats the frames count.

Whose market data a file holds stands in its header; of files that do not say so the frames tell. What the
simulated broker sent himself is played; where there is nothing of his another's is, from its ticks, and a
note says so.

A gap stays a silence of the same length: nothing is made up for what is missing. The recordings of
several connections are merged by time of reception. All of it is held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft._kite_decode import KiteDecoder
from kite_hft._upstox_decode import UpstoxDecoder
from kite_hft.layout import TICK
from kite_hft.memory.recording import ROW, Kind, Recording, RecordingError
from kite_hft.sessions import ist_text
from kite_hft.sim.kite.frames import encode_frames
from kite_hft.sim.market.source import Ticks, Times, join_ticks
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv

INSTRUMENTS: Final = "instruments.csv"
_WORDS: Final = TICK.itemsize // 8
_COUNT_BYTES: Final = 2
_LENGTH_BYTES: Final = 2
KITE, UPSTOX = "kite", "upstox"


class Beside(Protocol):
    """Keeps what Upstox's frames tell beside ticks. `begin`: a connection; `add`: what one frame held."""

    def begin(self, instruments: InstrumentTable) -> None: ...

    def add(self, ticks: Ticks, aux: npt.NDArray[np.void]) -> None: ...


@dataclass(frozen=True, slots=True)
class Recorded:
    """A whole recording: ticks in order of reception, each with its time since the first.

    packets: of Kite, those of each tick as they were recorded, or None where only rows were. numbers: which
    frame tick (in the order of `Beside.add`) each is; -1: it is of no frame. notes: what a person should
    know of it, gaps above all. dropped: packets in the frames that are no tick of a known instrument.
    """

    instruments: InstrumentTable
    times: Times
    ticks: Ticks
    packets: list[bytes | None] | None
    notes: tuple[str, ...]
    dropped: int = 0
    numbers: npt.NDArray[np.int64] | None = None


def load(files: Sequence[Path], pause_ns: int, broker: str = KITE, beside: Beside | None = None) -> Recorded:
    """The recordings in `files`, which lie beside their instruments.csv, for the simulator of `broker`.

    A silence of more than `pause_ns` (overnight) is cut to one second.

    Raises:
        RecordingError: a file cannot be read, holds nothing, or belongs to other instruments.
    """
    recordings = _chosen([Recording(file) for file in files])
    instruments = _instruments(recordings)
    recordings, notes = _of_broker(recordings, instruments, broker)
    stamps: list[Times] = []
    parts: list[Ticks] = []
    packets: list[bytes | None] = []
    numbers: list[npt.NDArray[np.int64]] = []
    dropped = kept = 0
    for recording in recordings:
        own: list[bytes | None] = []
        if recording.origin.kind is Kind.ROWS:
            times, ticks = recording.times_real_ns(recording.rows["recv_ns"]), _of_rows(recording.rows)
            number = np.full(len(ticks), -1, np.int64)
        elif _whose(recording, instruments) == UPSTOX:
            times, ticks, left = _of_upstox(recording, instruments, beside)
            number, kept = np.arange(kept, kept + len(ticks)), kept + len(ticks)
            dropped += left
        else:
            times, ticks, own, left = _of_frames(recording, instruments)
            number = np.full(len(ticks), -1, np.int64)
            dropped += left
        stamps.append(times)
        parts.append(ticks)
        packets += own or [None] * len(ticks)
        numbers.append(number)
    stamp, ticks = np.concatenate(stamps), join_ticks(parts).copy()
    if not len(ticks):
        raise RecordingError(f"{files[0].parent}: nothing is recorded in {', '.join(f.name for f in files)}")
    order = np.argsort(stamp, kind="stable")
    stamp, ticks = stamp[order], ticks[order]
    ticks["seq"] = np.arange(len(ticks))  # finds the packet again
    silence = np.diff(stamp, prepend=stamp[:1])
    silence[silence > pause_ns] = 1_000_000_000
    return Recorded(
        instruments,
        np.cumsum(silence),
        ticks,
        [packets[i] for i in order.tolist()] if any(packets) else None,
        (*(note for recording in recordings for note in notes_of(recording)), *notes),
        dropped,
        np.concatenate(numbers)[order] if kept else None,
    )


def _chosen(recordings: Iterable[Recording]) -> list[Recording]:
    """One recording for each connection: frames rather than rows."""
    found: dict[int, Recording] = {}
    for recording in recordings:
        known = found.get(recording.origin.connection)
        if known is None or known.origin.kind is Kind.ROWS:
            found[recording.origin.connection] = recording
    return [found[number] for number in sorted(found)]


def _instruments(recordings: Sequence[Recording]) -> InstrumentTable:
    path = recordings[0].path.parent / INSTRUMENTS
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        table = read_csv(path)
    except (OSError, InstrumentError) as error:
        raise RecordingError(f"{path}: a recording needs its instrument list beside it: {error}") from error
    for recording in recordings:
        if recording.origin.instruments != digest:
            raise RecordingError(
                f"{recording.path}: was recorded with another {INSTRUMENTS} than the one here"
            )
    return table


def notes_of(recording: Recording) -> list[str]:
    """What is missing in a recording, in words."""
    name, found = recording.path.name, []
    what = "rows" if recording.origin.kind is Kind.ROWS else "frames"
    offsets = dict(recording.offsets_ns)
    for gap in recording.gaps:
        when = ist_text(gap.at_ns + offsets.get(gap.before, recording.origin.offset_ns))
        many = f"{gap.lost} {what} are missing" if gap.lost else "it was interrupted"
        found.append(f"{name}: {many} before {when} ({gap.reason.name.lower().replace('_', ' ')})")
    if not recording.closed:
        found.append(f"{name}: was not closed in order; it ends with its last whole record")
    return found


def _whose(recording: Recording, instruments: InstrumentTable) -> str:
    """Whose market data it is, by its header, or else by the first frame that says so."""
    if recording.origin.broker or recording.origin.kind is Kind.ROWS:
        return recording.origin.broker
    if not any(row.upstox_key for row in instruments):
        return KITE
    return next((KITE if _is_kites(data) else UPSTOX for *_, data in recording.frames if len(data) > 1), KITE)


def _is_kites(frame: bytes) -> bool:
    """As many packets as it says, to its last byte: a frame of Upstox would begin with thousands."""
    packets = packets_of(frame)
    size = _COUNT_BYTES + sum(_LENGTH_BYTES + len(packet) for packet in packets)
    return len(packets) == int.from_bytes(frame[:_COUNT_BYTES]) and size == len(frame)


def _of_broker(
    recordings: Sequence[Recording], instruments: InstrumentTable, broker: str
) -> tuple[list[Recording], list[str]]:
    """Those to play on the simulator of `broker`, and what a person is told of that."""
    whose = [(recording, _whose(recording, instruments)) for recording in recordings]
    own = [recording for recording, name in whose if name in ("", broker)]
    others = [(recording.path.name, name) for recording, name in whose if name not in ("", broker)]
    if own:
        return own, [f"{file}: holds {name}'s market data; {broker}'s is played" for file, name in others]
    told = "holds {name}'s market data: {broker}'s frames are made from its ticks"
    notes = [f"{file}: {told.format(name=name, broker=broker)}" for file, name in others]
    return [recording for recording, _ in whose], notes


def _of_upstox(
    recording: Recording, instruments: InstrumentTable, beside: Beside | None
) -> tuple[Times, Ticks, int]:
    """(real time, tick) of every entry that is a tick, and how many are none."""
    known = [row for row in instruments if row.upstox_key]
    decoder = UpstoxDecoder(
        [row.upstox_key for row in known],
        np.array([row.slot for row in known], np.uint32),
        np.array([row.scale for row in known], np.float64),
        np.array([row.tick_px for row in known], np.int32),
        recording.origin.connection,
    )
    if beside is not None:
        beside.begin(instruments)
    frames = recording.frames
    reals = recording.times_real_ns(np.array([recv_ns for recv_ns, *_ in frames], np.int64))
    parts: list[Ticks] = []
    for recv_ns, _, data in frames:
        ticks, aux = decoder.decode_both(data, recv_ns)
        parts.append(ticks)
        if beside is not None:
            beside.add(ticks, aux)
    counts = decoder.counts()
    many = np.array([len(ticks) for ticks in parts], np.int64)
    return np.repeat(reals, many), join_ticks(parts), counts["received"] - counts["decoded"]


def _of_rows(rows: npt.NDArray[np.void]) -> Ticks:
    ticks = np.zeros(len(rows), TICK)
    for name in ROW.names or ():
        ticks[name] = rows[name]
    return ticks


def _of_frames(
    recording: Recording, instruments: InstrumentTable
) -> tuple[Times, Ticks, list[bytes | None], int]:
    """(real time, tick, packet) of every packet that is a tick, and how many are none."""
    tokens = instruments.tokens()
    decoder = KiteDecoder(tokens, np.arange(len(tokens), dtype=np.uint32), recording.origin.connection)
    frames = recording.frames
    reals = recording.times_real_ns(np.array([recv_ns for recv_ns, *_ in frames], np.int64)).tolist()
    times: list[int] = []
    parts: list[Ticks] = []
    packets: list[bytes | None] = []
    dropped = 0
    for real_ns, (recv_ns, _, data) in zip(reals, frames, strict=True):
        found = packets_of(data)
        ticks = decoder.decode_frame(data, recv_ns)
        if len(ticks) != len(found):
            alone = [(packet, decoder.decode_frame(_alone(packet), recv_ns)) for packet in found]
            found = [packet for packet, tick in alone if len(tick)]
            ticks = join_ticks([tick for _, tick in alone])
            dropped += len(alone) - len(found)
        times += [real_ns] * len(ticks)
        parts.append(ticks)
        packets += found
    return np.array(times, np.int64), join_ticks(parts), packets, dropped


def packets_of(frame: bytes) -> list[bytes]:
    """The whole packets of one frame, without their lengths; a heartbeat has none."""
    found: list[bytes] = []
    at = _COUNT_BYTES
    for _ in range(int.from_bytes(frame[:_COUNT_BYTES])):
        start = at + _LENGTH_BYTES
        end = start + int.from_bytes(frame[at:start])
        if end > len(frame) or start > len(frame):
            break
        found.append(frame[start:end])
        at = end
    return found


def _alone(packet: bytes) -> bytes:
    return b"\0\1" + len(packet).to_bytes(2) + packet


class Packets:
    """Encodes ticks for the wire, with the recorded packet wherever it is the one that is wanted."""

    def __init__(self, ticks: Ticks, packets: list[bytes | None]) -> None:
        self._ticks: npt.NDArray[Any] = ticks.view(np.uint64).reshape(-1, _WORDS)
        self._packets = packets

    def encode(
        self,
        ticks: Ticks,
        tokens: npt.NDArray[np.uint32],
        modes: npt.NDArray[np.uint8],
        packets_per_frame: int,
    ) -> list[bytes]:
        """As kite_frames.encode_frames. A tick that something has changed since is encoded anew."""
        frames = encode_frames(ticks, tokens, modes, packets_per_frame)
        seqs = np.minimum(ticks["seq"], len(self._packets) - 1).astype(np.intp)
        words = np.ascontiguousarray(ticks).view(np.uint64).reshape(-1, _WORDS)
        same = (self._ticks[seqs] == words).all(axis=1)
        wanted = [self._packets[seq] if ok else None for seq, ok in zip(seqs.tolist(), same, strict=True)]
        return [
            _patched(frame, wanted[i * packets_per_frame : (i + 1) * packets_per_frame])
            for i, frame in enumerate(frames)
        ]


def _patched(frame: bytes, packets: Sequence[bytes | None]) -> bytes:
    """`frame` with those of its packets replaced that were recorded in the same mode (length)."""
    out, at = bytearray(frame), _COUNT_BYTES
    for packet in packets:
        start = at + _LENGTH_BYTES
        length = int.from_bytes(frame[at:start])
        at = start + length
        if packet is not None and len(packet) == length:
            out[start:at] = packet
    return bytes(out)
