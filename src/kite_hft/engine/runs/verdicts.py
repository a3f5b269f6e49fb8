"""Layer 5, supervisor and `kite-hft morning`, cold: what the mornings of an account have said.

`<state>/kite_hft/<broker>-<account>/morning.jsonl`, one line each:

    {"event": "verdict", "day": "2026-11-20", "mode": "live", "config": .., "time": .., "time_ns": ..,
     "verdict": "NO-GO", "by": .., "reasons": [{"level": "no-go", "text": .., "fix": ..}],
     "doctor": {"ok": 24, "warn": 2, "fail": 1}}
    {"event": "accepted", "day": .., "mode": .., "config": .., "time": .., "time_ns": ..,
     "by": .., "reason": ..}

A verdict is of a mode and of a configuration: a rehearsal's GO says nothing of the live day. An acceptance is
about the verdict before it: a newer one has to be accepted anew. Where the last word cannot be read (a line
that a crash or a full disk cut, a file that is not ours) it counts as a NO-GO: nobody knows what it said.
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from kite_hft.settings import Settings

FILE_NAME: Final = "morning.jsonl"
GO, REDUCE_ONLY, NO_GO = "GO", "REDUCE-ONLY", "NO-GO"


class NoGo(Exception):
    """The morning says NO-GO, and nobody has accepted it; the message says why, and how to go on."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest verdict of a day. accepted: the reason for which a person trades nevertheless; "": none."""

    verdict: str
    time: str
    reasons: tuple[Mapping[str, str], ...]
    accepted: str = ""
    by: str = ""

    def words(self) -> str:
        """For the log: verdict, when, its reasons, who accepted it."""
        why = "; ".join(row["text"] for row in self.reasons)
        taken = f" (accepted by {self.by}: {self.accepted})" if self.accepted else ""
        return f"morning of {self.time}: {self.verdict}{taken}{f': {why}' if why else ''}"


def append(folder: Path, row: Mapping[str, Any]) -> None:
    """One line, on the disk when this returns. folder: of the account; it is made where there is none.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(folder / FILE_NAME, flags, 0o600)
    try:
        line = json.dumps(row, ensure_ascii=False).encode() + b"\n"
        size = os.fstat(fd).st_size
        if size and os.pread(fd, 1, size - 1) != b"\n":  # the line before was cut: it spoils no other
            line = b"\n" + line
        if os.write(fd, line) != len(line):
            raise OSError(28, "no space left: written in part")
        os.fsync(fd)
    finally:
        os.close(fd)


def standing(folder: Path, day: dt.date, mode: str, config: Path) -> Standing | None:
    """The newest verdict of a day in this mode: of this configuration, or of any where it has none.

    None: there is none. What cannot be read is a NO-GO that says so.
    """
    try:
        lines = (folder / FILE_NAME).read_text("utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return None
    except OSError as error:
        return _unknown(f"{folder / FILE_NAME} cannot be read: {error.strerror}")
    newest: dict[str, Standing] = {}
    last = ""
    for line in lines:
        try:
            row = json.loads(line)
            if row["day"] != day.isoformat() or row["mode"] != mode:
                continue
            of, said = str(row["config"]), _read(row)
            last = of
        except (ValueError, KeyError, TypeError, RecursionError):
            if line is lines[-1]:
                return _unknown(f"the last line of {folder / FILE_NAME} is no whole one: run it again")
            continue
        if isinstance(said, Standing):
            newest[of] = said
        elif of in newest:
            newest[of] = replace(newest[of], accepted=said[0], by=said[1])
    return newest.get(str(config)) or newest.get(last)


def _read(row: Mapping[str, Any]) -> Standing | tuple[str, str]:
    """A verdict, or an acceptance's reason and who gave it."""
    if row["event"] != "verdict":
        return str(row["reason"]), str(row["by"])
    reasons = tuple({"text": str(r["text"]), "level": str(r["level"])} for r in row["reasons"])
    return Standing(str(row["verdict"]), str(row["time"]), reasons)


def _unknown(why: str) -> Standing:
    return Standing(NO_GO, "an unknown time", ({"text": why, "level": "no-go"},))


def require_go(
    settings: Settings, folder: Path, day: dt.date, config: Path, say: Callable[[str], None]
) -> Standing | None:
    """Say what the morning of the day has said; in mode live a NO-GO has to be accepted.

    Raises:
        NoGo: see the class.
    """
    found = standing(folder, day, settings.mode, config)
    if found is None:
        if settings.mode == "live":
            say(f"WARNING: no morning of {day}: kite-hft morning --config FILE looks before you trade")
        return None
    if settings.mode == "live" and found.verdict == NO_GO and not found.accepted:
        why = "; ".join(row["text"] for row in found.reasons if row["level"] == "no-go")
        raise NoGo(
            f"the morning of {found.time} says NO-GO: {why}. Mend it and run kite-hft morning again, or "
            'trade nevertheless: kite-hft morning --config FILE --accept "REASON"'
        )
    say(found.words())
    return found
