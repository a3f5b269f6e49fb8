"""Layer 3, recorder process, hot: market data from the rings into files.

Pure step: readers, writers, counters and the alert come from outside. It follows the rings as any
reader does and never holds a feed up: what it is too slow for is lost, counted, and stands as a gap
in the file. A disk that is full or fails ends that file's recording with an alert; trading does
not notice.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from kite_hft.layout import COUNTERS, FRAME, HISTOGRAMS, TICK
from kite_hft.memory.recording import ENTRY, ROW_BYTES, Gap, GapReason, Kind, RecordingError
from kite_hft.memory.recording_writer import RecordingWriter

C: Final = {name: index for index, name in enumerate(COUNTERS["recorder"])}
H: Final = {name: index for index, name in enumerate(HISTOGRAMS["recorder"])}
TICKS_PER_DRAIN: Final = 4096
FRAMES_PER_DRAIN: Final = 64
DRAINS_PER_STEP: Final = 64

Records = npt.NDArray[np.void]
Alert = Callable[[str, str, str], None]
"""(code, key, text): see trading/alerts.py; the key is the name of the file."""


class Reader(Protocol):
    """A reader of a ring, over its generations (memory/follow.py)."""

    def drain(self, out: Records) -> int: ...

    @property
    def lost_last(self) -> int: ...

    @property
    def first_seq(self) -> int: ...

    @property
    def position(self) -> int: ...


class CounterSink(Protocol):
    """The recorder's counters and histograms, by index."""

    def add(self, index: int, n: int = 1) -> None: ...
    def record(self, histogram: int, ns: int, n: int = 1) -> None: ...


class Track:
    """One ring on its way into one file. `resumed`: nothing has come since the file was taken up again."""

    def __init__(self, reader: Reader, writer: RecordingWriter) -> None:
        self.reader, self.writer = reader, writer
        self.resumed, self.failed, self.told = writer.resumed, False, False
        self.parts: list[bytes] = []  # of the frame under way
        self.frames = writer.kind is Kind.FRAMES
        self.lost_counter = C["lost_frames" if self.frames else "lost_rows"]

    @property
    def reason(self) -> GapReason:
        """Why something would be missing now."""
        return GapReason.RESTART if self.resumed else GapReason.TOO_SLOW


class Recorder:
    """The recorder stage: compact rows and raw frames of any number of connections."""

    name = "recorder"

    def __init__(
        self,
        tracks: Sequence[Track],
        counters: CounterSink,
        mono_ns: Callable[[], int],
        real_ns: Callable[[], int],
        alert: Alert,
    ) -> None:
        self._tracks, self._counters = tracks, counters
        self._mono_ns, self._real_ns, self._alert = mono_ns, real_ns, alert
        self._ticks = np.frombuffer(mmap.mmap(-1, TICKS_PER_DRAIN * TICK.itemsize), TICK)  # on a cache line
        self._parts = np.zeros(FRAMES_PER_DRAIN, FRAME)

    def start(self) -> None:
        """A file that is taken up again says so, and what is missing."""
        for track in self._tracks:
            if track.resumed:
                missing = 0 if track.frames else max(0, track.reader.position - track.writer.next_seq)
                self._gap(track, missing, track.reader.position)
        if any(track.resumed for track in self._tracks):
            self._counters.add(C["restarts"])

    def step(self, now_ns: int) -> int:
        """Take what has come, until nothing more comes or DRAINS_PER_STEP; returns how many records."""
        work = 0
        for _ in range(DRAINS_PER_STEP):
            took = 0
            for track in self._tracks:
                if not track.failed:
                    took += self._take_frames(track) if track.frames else self._take_rows(track)
            work += took
            if not took:
                break
        return work

    def close(self) -> None:
        """Cut the files to what they hold."""
        for track in self._tracks:
            track.writer.close()

    def _take_rows(self, track: Track) -> int:
        n = track.reader.drain(self._ticks)
        if track.reader.lost_last:
            self._gap(track, track.reader.lost_last, track.reader.first_seq)
        if not n:
            return 0
        track.resumed = False
        seq = track.reader.position
        if self._write(track, lambda: track.writer.write_rows(self._ticks, n, seq)):
            self._counters.add(C["rows"], n)
            self._counters.add(C["row_bytes"], n * ROW_BYTES)
            self._time(self._ticks[0], n)
        return n

    def _take_frames(self, track: Track) -> int:
        n = track.reader.drain(self._parts)
        if track.reader.lost_last:
            track.parts.clear()  # how many frames that was, their numbers will tell
        for part in self._parts[:n]:
            self._take_part(track, part)
        return n

    def _take_part(self, track: Track, part: np.void) -> None:
        """Frames are written whole: parts wait for their last one."""
        length, offset, total = int(part["length"]), int(part["offset"]), int(part["total"])
        if offset != sum(map(len, track.parts)):
            track.parts.clear()  # an end without its beginning, or a beginning whose end never came
            if offset:
                return
        track.parts.append(part["data"][:length].tobytes())
        if offset + length < total:
            return
        data = b"".join(track.parts)
        track.parts.clear()
        number, seq = int(part["frame_no"]), int(part["seq"]) + 1
        if track.writer.frame_no and number > track.writer.frame_no + 1:
            self._gap(track, number - track.writer.frame_no - 1, track.writer.next_seq)
        track.resumed = False
        recv_ns = int(part["recv_ns"])
        if self._write(track, lambda: track.writer.write_frame(recv_ns, number, data, seq)):
            self._counters.add(C["frames"])
            self._counters.add(C["frame_bytes"], len(data) + ENTRY.itemsize)
            self._time(part, 1)

    def _time(self, oldest: np.void, n: int) -> None:
        self._counters.record(H["read_to_recorded"], max(0, self._mono_ns() - int(oldest["recv_ns"])), n)

    def _gap(self, track: Track, lost: int, seq: int) -> None:
        """Noted in the file before what was drained with it, and counted; `seq`: of what comes next."""
        now_ns = self._mono_ns()
        gap = Gap(now_ns, lost, track.reason, 0)
        offset_ns = self._real_ns() - now_ns
        if self._write(track, lambda: track.writer.write_gap(gap, offset_ns, seq)):
            self._counters.add(C["gaps"])
        self._counters.add(track.lost_counter, lost)
        if lost and not track.told:
            track.told = True  # the first time; the counter has them all
            what, name = "frames" if track.frames else "rows", track.writer.path.name
            self._alert("RECORDER_GAP", name, f"{name}: {lost} {what} were not recorded ({gap.reason.name})")

    def _write(self, track: Track, write: Callable[[], Any]) -> bool:
        if track.failed:
            return False
        try:
            write()
        except (RecordingError, OSError) as error:
            track.failed = True
            name = track.writer.path.name
            self._alert("FILE_FAILED", name, f"{name} is not recorded any more: {error}")
            return False
        return True
