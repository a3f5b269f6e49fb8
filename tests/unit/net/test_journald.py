"""Entries of the system's journal as bytes, and a journal that is not there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from kite_hft.net.journald import entry, send_entry


def test_an_entry_by_the_native_protocol() -> None:
    data = entry({"MESSAGE": "two\nlines", "PRIORITY": "2"})
    assert data == b"MESSAGE\n" + (9).to_bytes(8, "little") + b"two\nlines\nPRIORITY=2\n"
    with pytest.raises(ValueError, match="no name"):
        entry({"message": "x"})


def test_it_is_sent_in_one_datagram(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(path))
        send_entry(path, {"MESSAGE": "x"})
        assert journal.recv(100) == b"MESSAGE=x\n"
    with pytest.raises(OSError, match=r"refused|No such"):
        send_entry(path, {"MESSAGE": "x"})
