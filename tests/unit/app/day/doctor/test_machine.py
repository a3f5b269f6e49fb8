"""What the doctor reads of the machine: room for this user, the kernel's clock, modes of what holds keys."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from kite_hft.app.day.doctor import machine
from kite_hft.app.day.doctor.machine import disk_facts, file_facts, file_system, kernel_clock

UNSYNC = 0x40


class Timex(ctypes.Structure):
    """The head of struct timex as <sys/timex.h> has it (adjtimex(2))."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
    )


def libc(status: int, answer: int = 0) -> Any:
    """A C library whose kernel says `status`, with 4,567 us of error."""

    class Libc:
        def adjtimex(self, words: Any) -> int:
            told = ctypes.cast(words, ctypes.POINTER(Timex)).contents
            told.maxerror, told.esterror, told.status, told.freq = 4_567, UNSYNC, status, UNSYNC
            return answer

    return lambda *_, **__: Libc()


@pytest.mark.parametrize(
    ("status", "answer", "found"),
    [
        (0x2001, 0, (True, 4_567)),
        (0x2001 | UNSYNC, 5, (False, 4_567)),
        (UNSYNC, -1, (None, 0)),
    ],
)
def test_the_kernels_clock(
    monkeypatch: pytest.MonkeyPatch, status: int, answer: int, found: tuple[bool | None, int]
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", libc(status, answer))
    assert kernel_clock() == found


def test_room_is_what_this_user_may_fill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not what root could fill, and not the size of the disk; of the folder that is there."""
    seen: list[Path] = []

    def statvfs(path: Path) -> os.statvfs_result:
        seen.append(path)
        return os.statvfs_result((4096, 1024, 900, 500, 300, 80, 70, 60, 0, 255))

    monkeypatch.setattr(os, "statvfs", statvfs)
    found = disk_facts(tmp_path / "not" / "yet")
    assert found.free == 300 * 1024 and found.writable and found.path == tmp_path / "not" / "yet"
    assert seen == [tmp_path] and found.files_free == 60


def test_a_file_system_without_a_number_of_files_has_no_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = os.statvfs_result((4096, 1024, 900, 500, 300, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda path: told)
    assert disk_facts(tmp_path).files_free == -1


def test_the_file_system_of_a_path_by_its_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = os.stat(tmp_path).st_dev
    rows = [
        "21 1 0:999 / /proc rw,nosuid - proc proc rw",
        f"22 1 {os.major(device)}:{os.minor(device)} / / rw shared:1 master:2 - ext4 /dev/sda1 rw",
    ]
    monkeypatch.setattr(machine, "text_of", lambda path: "\n".join(rows))
    assert file_system(tmp_path) == "ext4"
    monkeypatch.setattr(machine, "text_of", lambda path: rows[0])
    assert file_system(tmp_path) == ""


def test_modes_of_what_is_there_and_of_what_is_not(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    assert file_facts("configuration", path).mode == -1
    path.write_text("")
    path.chmod(0o640)
    found = file_facts("configuration", path)
    assert (found.mode, found.uid, found.own_uid, found.folder) == (0o640, os.geteuid(), os.geteuid(), False)
    assert file_facts("folder", tmp_path).folder


def test_of_a_link_the_mode_is_that_of_what_it_leads_to(tmp_path: Path) -> None:
    file, link = tmp_path / "kept.yaml", tmp_path / "config.yaml"
    file.write_text("")
    file.chmod(0o600)
    link.symlink_to(file)
    found = file_facts("configuration", link, written=False)
    assert (found.mode, found.path, found.written) == (0o600, file, False)
    file.unlink()
    assert file_facts("configuration", link).mode == -1
    link.unlink()
    link.symlink_to(link)
    assert file_facts("configuration", link).mode == -1
