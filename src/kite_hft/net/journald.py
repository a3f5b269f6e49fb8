"""Layer 3, supervisor and watchdog, cold: entries for the system's journal, by its native protocol.

One datagram an entry: `NAME=value` lines; a value with a line end in it stands behind its length
(little-endian uint64). https://systemd.io/JOURNAL_NATIVE_PROTOCOL/
"""

from __future__ import annotations

import contextlib
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")


def entry(fields: Mapping[str, str]) -> bytes:
    """The datagram of an entry.

    Raises:
        ValueError: a name that the journal does not take.
    """
    parts = []
    for name, value in fields.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a journal field")
        data = value.encode()
        if b"\n" in data:
            parts.append(name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n")
        else:
            parts.append(name.encode() + b"=" + data + b"\n")
    return b"".join(parts)


def send_entry(path: Path, fields: Mapping[str, str]) -> None:
    """Hand one entry to the journal whose socket is `path`; never waits.

    Raises:
        OSError: nobody listens there, or its queue is full.
    """
    data = entry(fields)
    with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as link:
        link.setblocking(False)
        link.sendto(data, str(path))
