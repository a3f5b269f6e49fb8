"""Layer 5, supervisor, watchdog and command line, cold: alerts.jsonl: written a line at a time, read back.

One line (`event` is raised, reminder, cleared, acknowledged or test):

    {"number": 3, "event": "raised", "time": "2026-11-20 10:00:05", "time_ns": .., "code": "FEED_DEAD",
     "severity": "CRITICAL", "key": "feed-0", "text": .., "advice": .., "again": 0, "raised": 1, ..}

`number` names the alert: its later lines carry the same one. `raised` counts how often the
condition was found, told or not; `again` how often it was told before. `teller`: who wrote it, where that
was not the supervisor (watchdog, orders): each of them counts for itself, so number and teller together
name an alert.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from kite_hft.sessions import ist_text

FILE_NAME: Final = "alerts.jsonl"
TEXT_CHARS_MAX: Final = 1000  # so that a line always fits an empty pipe, and writing never waits
SEVERITIES: Final = ("INFO", "WARNING", "CRITICAL")
"""Names of layout.Severity by their value, from 1."""
WORDS: Final = ("event", "time", "code", "severity", "key")
"""Without them a line is none of ours."""


class AlertFile:
    """The alerts of a run on disk, opened with the first line."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._fd = folder, -1

    def append(self, line: bytes) -> None:
        """One line, whole.

        Raises:
            OSError: it cannot be written.
        """
        if self._fd < 0:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._fd = os.open(self._folder / FILE_NAME, flags, 0o600)
        append_line(self._fd, line)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def severity_word(severity: int) -> str:
    """`CRITICAL` of 3; another version's number as it is."""
    return SEVERITIES[severity - 1] if 1 <= severity <= len(SEVERITIES) else str(severity)


def one_line(text: str, secrets: Sequence[str] = ()) -> str:
    """One printable line without secrets: brokers' words go to terminals, too."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "<secret>")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:TEXT_CHARS_MAX]


def append_line(fd: int, line: bytes) -> None:
    """One line in one write.

    Raises:
        OSError: it could not be written whole.
    """
    if os.write(fd, line) != len(line):
        raise OSError(28, "no space left: written in part")


def teller_of(row: Mapping[str, Any]) -> str:
    """Who wrote the row: "" the supervisor, else watchdog or orders."""
    return str(row.get("teller") or "")


def read_alerts(folder: Path) -> list[dict[str, Any]]:
    """The alerts of a run, oldest first, each with its last words and `state`.

    state: standing (a lasting condition that holds), told (an event), over, or acknowledged. A line
    that was cut by a crash, or is none of ours, is left out.

    Raises:
        OSError: the file is there and cannot be read.
    """
    try:
        lines = (folder / FILE_NAME).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return []
    found: dict[tuple[int, str], dict[str, Any]] = {}
    for line in lines:
        try:
            _fold(found, json.loads(line))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return list(found.values())


def _fold(found: dict[tuple[int, str], dict[str, Any]], row: dict[str, Any]) -> None:
    """Add one line to what is known of its alert.

    Raises:
        ValueError, KeyError, TypeError: it is no line of ours.
    """
    row = row | {name: str(row[name]) for name in WORDS}
    row |= {"number": int(row["number"]), "time_ns": int(row["time_ns"])}
    event, time = row["event"], row["time"]
    name = _name_of(found, row)
    known = found.get(name)
    if event == "test":
        found[name] = {**row, "first": time, "state": "over"}
    elif event in ("raised", "reminder") or known is None:
        first = known["first"] if known else time
        state = "standing" if row.get("lasts", True) else "told"
        found[name] = {"text": "", **row, "first": first, "state": state}
        known = found[name]
    if event == "cleared" and known is not None:
        known["state"] = "over"
    elif event == "acknowledged" and known is not None:
        known["state"] = "acknowledged"


def _name_of(found: Mapping[tuple[int, str], Mapping[str, Any]], row: Mapping[str, Any]) -> tuple[int, str]:
    """Which alert a line is about. An acknowledgement of an earlier version names no teller: it means the
    alert of that number which has its code and key."""
    name = (row["number"], teller_of(row))
    if row["event"] != "acknowledged" or "teller" in row:
        return name
    meant = (row["code"], row["key"])
    if name in found and (found[name]["code"], found[name]["key"]) == meant:
        return name
    others = [
        other
        for other, alert in found.items()
        if other[0] == name[0] and (alert["code"], alert["key"]) == meant
    ]
    return others[-1] if others else name


def last_number(folder: Path) -> int:
    """The highest number that stands in the file of a run; 0: none does, or it cannot be read."""
    try:
        return max((int(row["number"]) for row in read_alerts(folder)), default=0)
    except OSError:
        return 0


def open_alerts(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Those that nobody has acknowledged and that are not over, worst first, then newest."""
    waiting = [row for row in rows if row["state"] in ("standing", "told")]
    rank = {word: rank for rank, word in enumerate(SEVERITIES, 1)}
    return sorted(waiting, key=lambda row: (-rank.get(row["severity"], 0), -row["time_ns"]))


def chosen(
    rows: Sequence[Mapping[str, Any]], number: int | None, code: str = "", key: str | None = None
) -> list[Mapping[str, Any]]:
    """Open alerts that are meant: by number, by code (and key), or all."""
    return [
        row
        for row in open_alerts(rows)
        if number in (None, row["number"]) and code in ("", row["code"]) and key in (None, row["key"])
    ]


class TwoMeant(Exception):
    """A number names more than one alert."""


def acknowledge_file(
    folder: Path, number: int | None, now_real_ns: int, code: str = "", key: str | None = None
) -> int:
    """Acknowledge alerts of a run that has ended; returns how many.

    Raises:
        TwoMeant: of two that tell both have given this number. OSError: the file cannot be written.
    """
    waiting = chosen(read_alerts(folder), number, code, key)
    if not waiting:
        return 0
    if number is not None and len(waiting) > 1:
        names = [f"--ack {row['code']} {row['key']}".strip() for row in waiting]
        raise TwoMeant(f"{len(waiting)} open alerts have the number {number}: say {' or '.join(names)}")
    file = AlertFile(folder)
    try:
        for row in waiting:
            words = {name: row[name] for name in ("number", "code", "severity", "key")}
            words["teller"] = teller_of(row)
            stamp = {"event": "acknowledged", "time": ist_text(now_real_ns), "time_ns": now_real_ns}
            file.append(json.dumps(words | stamp).encode() + b"\n")
    finally:
        file.close()
    return len(waiting)
