"""Layer 6, by hand, cold: the files of an incident, redacted, with their checksums, in one archive (0600).

Every file is read once and kept in memory until the archive is written: what is packed is what was summed.
"""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import io
import json
import os
import platform
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from kite_hft import builds, layout
from kite_hft.app.day.incident.redaction import Redactor
from kite_hft.app.day.incident.timeline import (
    Event,
    Teller,
    alert_events,
    call_events,
    journal_events,
    log_events,
    within,
)
from kite_hft.engine.alerts.files import FILE_NAME as ALERTS
from kite_hft.engine.orders.continuing import JOURNAL, chain_of
from kite_hft.engine.orders.evidence import EVIDENCE
from kite_hft.engine.runs.runs import strategy_names
from kite_hft.engine.runs.verdicts import FILE_NAME as MORNINGS
from kite_hft.memory.journal import JournalError, dump
from kite_hft.memory.recording import Kind, Recording, RecordingError, find
from kite_hft.sessions import ist_text
from kite_hft.trading.instruments import InstrumentError, InstrumentTable, read_csv

FRAMES_BYTES_MAX: Final = 64 << 20
ALL_FRAMES_S: Final = 60
"""Without a time the last so many seconds of frames are taken: all of a day would be gigabytes."""
TEXTS: Final = (EVIDENCE, ALERTS, "orders.csv", "trades.csv", "engine.log", "report.json", "run.json",
                "instruments.csv", "configuration.txt")  # fmt: skip
SOURCES: Final = (
    "India's time (IST). journal: what the engine decided, sent and was told; call: every call that left; "
    "alert, log: what people were told."
)
Span = tuple[int, int] | None


@dataclass(slots=True)
class Pack:
    """Files by their path in the archive, and what had to be left out, with the reason."""

    redactor: Redactor
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def add(self, name: str, data: bytes | str) -> None:
        """A text; secrets are taken out."""
        raw = data.encode() if isinstance(data, str) else data
        self.files[name] = self.redactor.clean(raw)

    def add_raw(self, name: str, data: bytes) -> None:
        """A file that cannot be changed: left out when it holds a secret."""
        if self.redactor.holds(data):
            self.left_out.append(f"{name}: it holds a secret, and cannot be changed")
        else:
            self.files[name] = data

    def add_file(self, name: str, path: Path) -> None:
        """A text file, if it is there."""
        try:
            self.add(name, path.read_bytes())
        except FileNotFoundError:
            return
        except OSError as error:
            self.left_out.append(f"{name}: {error.strerror}")

    def sums(self) -> bytes:
        """SHA256SUMS, as sha256sum -c reads it."""
        rows = (f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(self.files.items()))
        return "".join(rows).encode()

    def write(self, target: Path, top: str, mtime_s: int) -> None:
        """The archive; everything in it lies below the folder `top`.

        Raises:
            OSError: it is there already, or cannot be written.
        """
        fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with (
                os.fdopen(fd, "wb") as file,
                gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=mtime_s) as packed,
                tarfile.open(fileobj=packed, mode="w") as archive,
            ):
                for name, data in sorted({**self.files, "SHA256SUMS": self.sums()}.items()):
                    row = tarfile.TarInfo(f"{top}/{name}")
                    row.size, row.mode, row.mtime = len(data), 0o600, mtime_s
                    archive.addfile(row, io.BytesIO(data))
                archive.close()
                packed.close()
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            target.unlink(missing_ok=True)
            raise


def run_files(pack: Pack, folder: Path, span: Span) -> list[Event]:
    """Everything of a run folder; returns the events of its timeline."""
    instruments = _instruments(folder)
    chain = _chain(pack, folder)
    events: list[Event] = []
    pairs: list[dict[str, Any]] = []
    teller = Teller(instruments, strategy_names(folder))
    for part in (*chain, folder):
        prefix = "" if part == folder else f"earlier/{part.name}/"
        records = _records(pack, part, prefix)
        events += journal_events(teller, records)
        pairs += request_pairs(records)
    for name in TEXTS:
        pack.add_file(name, folder / name)
    for path in sorted(folder.glob("*.yaml")):
        pack.add_file(f"config/{path.name}", path)
    pack.add("requests.jsonl", "".join(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs))
    events += call_events(_csv(folder / EVIDENCE))
    events += alert_events(_json_lines(folder / ALERTS))
    events += log_events(_json_lines(folder / "engine.log"))
    recorded(pack, folder, span, max((e.time_ns for e in events), default=0))
    return within(events, span)


def _instruments(folder: Path) -> InstrumentTable:
    try:
        return read_csv(folder / "instruments.csv")
    except (InstrumentError, OSError):
        return InstrumentTable(())


def _chain(pack: Pack, folder: Path) -> tuple[Path, ...]:
    try:
        return chain_of(folder)
    except (JournalError, OSError) as error:
        pack.left_out.append(f"journals of earlier runs that it goes on from: {error}")
        return ()


def _records(pack: Pack, folder: Path, prefix: str) -> list[dict[str, Any]]:
    """The journal, as it is and as JSON lines."""
    path = folder / JOURNAL
    try:
        pack.add_raw(f"{prefix}{JOURNAL}", path.read_bytes())
        records = list(dump(path))
    except (JournalError, OSError) as error:
        pack.left_out.append(f"{prefix}{JOURNAL}: {error}")
        return []
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    pack.add(f"{prefix}journal.jsonl", text)
    return records


def request_pairs(records: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each call about an order with what its answer proved, out of the journal.

    The raw text of an answer to an order call is not kept by the engine: its meaning is.
    """
    pairs: list[dict[str, Any]] = []
    waiting: dict[tuple[int, str], dict[str, Any]] = {}
    for record in records:
        kind, data = record["kind"], dict(record.get("data") or {})
        if kind in ("INTENT", "CALL"):
            call = "place" if kind == "INTENT" else str(data.get("call"))
            pair = {"sent": _stamp(record), "call": call, "order_no": data.get("no"), "request": data}
            waiting[int(data.get("no") or 0), call] = pair
            pairs.append(pair)
        elif kind == "ANSWER":
            found = waiting.pop((int(data.get("no") or 0), str(data.get("call"))), None)
            if found is None:
                found = {"sent": None, "call": data.get("call"), "order_no": data.get("no"), "request": None}
                pairs.append(found)
            found |= {"answered": _stamp(record), "answer": data}
    return pairs


def _stamp(record: Mapping[str, Any]) -> str:
    ns = int(record["time_ns"])
    return f"{ist_text(ns)}.{ns // 1000 % 10**6:06d}"


def recorded(pack: Pack, folder: Path, span: Span, last_ns: int) -> None:
    """Raw frames and compact ticks within the span; without one, of the last ALL_FRAMES_S."""
    paths = find(folder)
    if not paths:
        pack.left_out.append("raw frames: not recorded (datafeed.store_ticks, tick_storage_format: frames)")
    since, until = span or (last_ns - ALL_FRAMES_S * 10**9, last_ns)
    for path in paths:
        try:
            recording = Recording(path)
        except RecordingError as error:
            pack.left_out.append(f"{path.name}: {error}")
            continue
        frames = recording.origin.kind is Kind.FRAMES
        if frames:
            data, more = frame_lines(recording, since, until, pack.redactor)
        else:
            data, more = row_lines(recording, since, until)
        pack.add(f"recorded/{path.stem}.{'jsonl' if frames else 'csv'}", data)
        if more:
            pack.left_out.append(f"{path.name}: cut at {FRAMES_BYTES_MAX >> 20} MiB; name a shorter time")
        if recording.gaps:
            pack.left_out.append(f"{path.name}: {len(recording.gaps)} gaps that the recorder counted")


def frame_lines(recording: Recording, since: int, until: int, redactor: Redactor) -> tuple[bytes, bool]:
    """(frames as JSON lines with their bytes in hex, whether it had to be cut)."""
    frames = recording.frames
    times = recording.times_real_ns(np.array([recv for recv, _, _ in frames], np.int64))
    out: list[str] = []
    size = 0
    for (_, number, data), real_ns in zip(frames, times.tolist(), strict=True):
        if not since <= real_ns <= until:
            continue
        data = redactor.clean(data) if redactor.holds(data) else data
        line = json.dumps({"received": f"{ist_text(real_ns)}.{real_ns // 1000 % 10**6:06d}",
                           "received_ns": real_ns, "frame": number, "hex": data.hex()})  # fmt: skip
        size += len(line)
        if size > FRAMES_BYTES_MAX:
            return "\n".join([*out, ""]).encode(), True
        out.append(line)
    return "\n".join([*out, ""]).encode() if out else b"", False


def row_lines(recording: Recording, since: int, until: int) -> tuple[bytes, bool]:
    """(ticks as CSV, whether it had to be cut)."""
    rows = recording.rows
    times = recording.times_real_ns(rows["recv_ns"].astype(np.int64))
    names = [name for name in (rows.dtype.names or ()) if rows.dtype[name].kind in "iuf"]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["received_ns", *names])
    for at in np.flatnonzero((times >= since) & (times <= until)).tolist():
        writer.writerow([int(times[at]), *(rows[name][at].item() for name in names)])
        if text.tell() > FRAMES_BYTES_MAX:
            return text.getvalue().encode(), True
    return text.getvalue().encode(), False


def build_note(now_ns: int) -> str:
    """Which code this is, and on what."""
    told = {
        "packed": f"{ist_text(now_ns)} IST",
        "build": f"{builds.fingerprint():016x}",
        "layout": f"{layout.LAYOUT_FINGERPRINT:016x}",
        "python": platform.python_version(),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "hashes of the run": "stand in the first line of journal.jsonl: build, configuration, rules",
    }
    return json.dumps(told, indent=2) + "\n"


def mornings(pack: Pack, account: Path, day: str) -> None:
    """The mornings of the day, also of those about the day of a simulated market."""
    lines = _json_lines(account / MORNINGS)
    rows = [row for row in lines if day in (row.get("day"), str(row.get("time"))[:10])]
    if rows:
        pack.add(MORNINGS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def timeline(title: str, events: Sequence[Event], left_out: Sequence[str]) -> str:
    """timeline.md."""
    head = [f"# {title}", "", SOURCES, "", "```"]
    tail = ["```", ""] + (["Not here:", *(f"- {text}" for text in left_out), ""] if left_out else [])
    return "\n".join([*head, *(event.line() for event in events), *tail])


def _json_lines(path: Path) -> list[dict[str, Any]]:
    found = []
    with contextlib.suppress(OSError):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(ValueError):
                row = json.loads(line)
                if isinstance(row, dict):
                    found.append(row)
    return found


def _csv(path: Path) -> list[dict[str, str]]:
    try:
        data = path.read_bytes()
    except OSError:
        return []
    return list(csv.DictReader(io.StringIO(data[: data.rfind(b"\n") + 1].decode(errors="replace"))))
