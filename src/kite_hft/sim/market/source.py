"""Layer 4, simulator, cold: what a source of market data is, and the count of what was sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.kernels.checksum import tick_checksum
from kite_hft.layout import TICK
from kite_hft.trading.instruments import InstrumentTable

Ticks = npt.NDArray[np.void]
Times = npt.NDArray[np.int64]

LATE_NS: Final = 1_000_000
_MASK_64: Final = 2**64 - 1
_MASK_32: Final = 2**32 - 1


class Encode(Protocol):
    """Ticks to frames; see kite_frames.encode_frames."""

    def __call__(
        self,
        ticks: Ticks,
        tokens: npt.NDArray[np.uint32],
        modes: npt.NDArray[np.uint8],
        packets_per_frame: int,
    ) -> list[bytes]: ...


class Source(Protocol):
    """Ticks in order, each with the time it is due, in ns after the start of the source."""

    instruments: InstrumentTable

    def take(self, until_ns: int, limit: int) -> tuple[Times, Ticks]:
        """The next ticks due up to `until_ns`, at most `limit`: (int64[n], TICK[n])."""
        ...

    def next_ns(self) -> int | None:
        """When the next tick is due; None when the source has ended."""
        ...


class UntilSource:
    """A source that ends after `end_ns`, so that everything it had can be counted at the far end."""

    def __init__(self, source: Source, end_ns: int) -> None:
        self.instruments = source.instruments
        self._source, self._end_ns = source, end_ns

    def take(self, until_ns: int, limit: int) -> tuple[Times, Ticks]:
        """As Source.take, up to the end."""
        return self._source.take(min(until_ns, self._end_ns), limit)

    def next_ns(self) -> int | None:
        """As Source.next_ns; None after the end."""
        due = self._source.next_ns()
        return None if due is None or due > self._end_ns else due


def join_ticks(parts: Sequence[Ticks]) -> Ticks:
    """The parts one after another, read-only. numpy.concatenate compares all 30 fields of each
    part first, which costs more than sending does."""
    return np.frombuffer(b"".join(parts), TICK)  # type: ignore[arg-type]


@dataclass(slots=True)
class Sent:
    """What left for one connection, or for all of them. Times in ns."""

    ticks: int = 0  # that a reader can read; snapshots included
    snapshot_ticks: int = 0
    packets: int = 0  # whole packets: ticks, and packets of an unknown length
    spoiled: int = 0  # ticks inside damaged frames that no reader can read
    withheld: int = 0  # ticks that were due while the connection was kept silent
    frames: int = 0
    bytes: int = 0
    checksum: int = 0  # of `ticks`
    max_delay_ns: int = 0  # snapshots excluded
    late_frames: int = 0  # more than LATE_NS behind their time
    texts: int = 0
    orders: int = 0  # texts of type order
    labels: int = 0  # of these, with the status UPDATE
    errors: int = 0  # texts of type error
    heartbeats: int = 0
    pongs: int = 0

    def add_ticks(self, ticks: Ticks, tokens: npt.NDArray[np.uint32], bare: npt.NDArray[np.bool_]) -> None:
        """Add `ticks` to the count and to the checksum, as a reader of the wire will see them.

        bare: bool[n], the wire has no day volume of this one.
        """
        token = tokens[ticks["slot"]]
        volume = np.where(bare, 0, ticks["volume"] & _MASK_32)
        self.ticks += len(ticks)
        self.checksum = (self.checksum + tick_checksum(token, ticks["last_px"], volume)) & _MASK_64

    def add(self, more: Sent) -> None:
        """Add another count to this one."""
        latest = max(self.max_delay_ns, more.max_delay_ns)
        for name in Sent.__slots__:
            setattr(self, name, getattr(self, name) + getattr(more, name))
        self.checksum &= _MASK_64
        self.max_delay_ns = latest

    def as_dict(self) -> dict[str, int]:
        """Plain numbers for JSON; the checksum as an unsigned 64-bit integer."""
        return asdict(self)
