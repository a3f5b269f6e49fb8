"""Layer 6, a recorder for a program, cold: `python -m kite_hft.app.face.recording`, started by
DataFeedService.

Records the ticks of a run that does not record itself: `config.datafeed.store_ticks = True` while it runs.
The engine's own recorder stage and files, in the run's folder: what the rings still hold and all that
comes, until standard input ends. It reads the rings as any reader does.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Final

from kite_hft.app.face.engines import child_environment
from kite_hft.app.face.texts import DataFeedError
from kite_hft.clock import SystemClock
from kite_hft.engine.market.recorder import KINDS, LOOK_S, make_tracks
from kite_hft.engine.runs.runs import RunNote
from kite_hft.memory.header import SegmentError
from kite_hft.settings import Settings
from kite_hft.stages.recorder import Recorder

READY: Final = "ready"
STOP_S: Final = 20.0


class Recording:
    """A recorder process that this program has started."""

    def __init__(self, note: RunNote, settings: Settings) -> None:
        """Start it and wait until its files are open.

        Raises:
            DataFeedError: they cannot be written.
        """
        wanted = settings.datafeed.tick_storage_format
        if KINDS[wanted] != KINDS["binary"] and not (Path(note.shm) / "frames-0.current").exists():
            raise DataFeedError(
                f"tick_storage_format {wanted}: the engine makes room for frames at its start only; set "
                "store_ticks and tick_storage_format before start(), or record `binary`"
            )
        hidden = {"kite", "upstox", "alerts", "credentials", "notifications"}
        told = {
            "settings": settings.model_dump(mode="json", exclude=hidden),
            "folder": note.folder,
            "shm": note.shm,
            "instruments": str(Path(note.folder) / "instruments.csv"),
            "connections": [
                {"number": n, "broker": note.data_brokers[0]} for n in range(len(note.connections))
            ],
            "restarted": True,  # a file that is there already is continued
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kite_hft.app.face.recording"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True, env=child_environment(os.environ),
        )  # fmt: skip
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # it has ended: it said why
            self._process.stdin.write(json.dumps(told).encode() + b"\n")
            self._process.stdin.flush()
        said = self._process.stdout.readline().decode().strip()
        if said != READY:
            self.stop()
            raise DataFeedError(f"ticks are not recorded: {said or 'the recorder has ended'}")

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it; its files are whole."""
        assert self._process.stdin and self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


class Nobody:
    """What the stage counts: the run's counters belong to its own recorder."""

    def add(self, index: int, n: int = 1) -> None:
        """Nothing is kept."""

    def record(self, histogram: int, ns: int, n: int = 1) -> None:
        """Nothing is kept."""


def main() -> int:
    """Record until standard input ends; returns the exit code."""
    line = sys.stdin.buffer.readline()
    if not line:
        print("this process is started by DataFeedService (docs/python.md)", file=sys.stderr)
        return 2
    told, clock, troubles = json.loads(line), SystemClock(), list[str]()

    def alert(code: str, key: str, text: str) -> None:
        troubles.append(f"{code}: {text}")

    try:
        tracks = make_tracks(Settings.model_validate(told["settings"]), told, clock, alert)
    except (SegmentError, OSError) as error:
        troubles.append(str(error))
        tracks = []
    if troubles or not tracks:
        print("; ".join(troubles).replace("\n", " "), flush=True)
        return 1
    stage = Recorder(tracks, Nobody(), clock.mono_ns, clock.real_ns, alert)
    stage.start()
    print(READY, flush=True)
    stopping = threading.Event()
    threading.Thread(target=stop_at_the_end, args=(stopping,), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    record(stage, clock, stopping)
    stage.close()
    return 0


def record(stage: Recorder, clock: SystemClock, stopping: threading.Event) -> None:
    """Until somebody stops it, or the engine is gone; then what is still there."""
    with contextlib.suppress(SegmentError):
        while not stopping.is_set():
            if not stage.step(clock.mono_ns()):
                stopping.wait(LOOK_S)
        while stage.step(clock.mono_ns()):
            pass


def stop_at_the_end(stopping: threading.Event) -> None:
    """When the program that started us closes its end, or is gone."""
    while os.read(0, 4096):
        pass
    stopping.set()


if __name__ == "__main__":
    sys.exit(main())
