"""Layer 5, recorder process, cold: the files of a run's market data, and the loop that fills them.

The recorder sleeps between looks: the rings hold seconds of market data, and a recorder that waits
for each tick would cost the market processes a wake-up per read.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from pathlib import Path
from typing import Any, Final

from kite_hft import _counters
from kite_hft.clock import Clock, SystemClock
from kite_hft.engine.processes.children import Answers
from kite_hft.engine.processes.segments import Segments
from kite_hft.layout import SegmentKind
from kite_hft.memory.follow import FollowingReader
from kite_hft.memory.recording import Kind, Origin, RecordingError, file_name
from kite_hft.memory.recording_writer import RecordingWriter
from kite_hft.memory.segment import boot_id
from kite_hft.settings import Settings
from kite_hft.stages.recorder import Alert, Recorder, Track
from kite_hft.trading.alerts import CODES

BEAT_NS: Final = 100_000_000
LOOK_S: Final = 0.005
KINDS: Final = {"binary": (Kind.ROWS,), "frames": (Kind.FRAMES,), "both": (Kind.ROWS, Kind.FRAMES)}
RINGS: Final = {Kind.ROWS: ("ticks", SegmentKind.TICK_RING), Kind.FRAMES: ("frames", SegmentKind.FRAME_RING)}


def run_recorder(config: dict[str, Any], answers: Answers) -> int:
    """The process body; returns its exit code."""
    settings = Settings.model_validate(config["settings"])
    segments = Segments(config["segments"])
    clock = SystemClock()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        counters = _counters.CounterWriter(segments.own("counters-recorder", SegmentKind.COUNTERS).view)

        def alert(code: str, key: str, text: str) -> None:
            answers.alert(code, key, text, int(CODES[code].severity))

        tracks = make_tracks(settings, config, clock, alert)
        stage = Recorder(tracks, counters, clock.mono_ns, clock.real_ns, alert)
        stage.start()
        answers.placed(config["name"], config["place"])
        answers.send(ready={})
        beat_ns = 0
        while not stopping.is_set():
            now_ns = clock.mono_ns()
            if now_ns >= beat_ns:
                beat_ns = now_ns + BEAT_NS
                segments.heartbeat(now_ns)
            if not stage.step(now_ns):
                stopping.wait(LOOK_S)
        while stage.step(clock.mono_ns()):
            segments.heartbeat(clock.mono_ns())
        stage.close()
    finally:
        segments.close()
    return 0


def make_tracks(settings: Settings, config: dict[str, Any], clock: Clock, alert: Alert) -> list[Track]:
    """A file and its reader for each connection and format.

    A file that is there already is taken up again: behind its last whole row when this process was
    started again beside rings that went on, from what the rings hold when they are new as well.
    What cannot be opened is told and left out.
    """
    folder, tracks = Path(config["folder"]), []
    digest = hashlib.sha256(Path(config["instruments"]).read_bytes()).hexdigest()
    for connection in config["connections"]:
        for kind in KINDS[settings.datafeed.tick_storage_format]:
            number = connection["number"]
            path = folder / file_name(kind, number)
            broker = connection.get("broker", "")
            origin = Origin(
                kind, number, digest, clock.mono_ns(), clock.real_ns(), broker,
                config.get("build", 0), config.get("config_hash", 0), config.get("rules_hash", 0),
            )  # fmt: skip
            try:
                writer = RecordingWriter(path, origin, boot_id())
            except (RecordingError, OSError) as error:
                alert("FILE_FAILED", path.name, f"{path.name} is not recorded: {error}")
                continue
            start = writer.next_seq if writer.resumed and config["restarted"] else "oldest"
            name, ring = RINGS[kind]
            reader = FollowingReader(Path(config["shm"]), f"{name}-{number}", ring, start=start)
            tracks.append(Track(reader, writer))
    return tracks
