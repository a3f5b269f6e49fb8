"""The archive of an incident: what goes in, what is left out, and its sums."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from kite_hft.app.day.incident.pack import Pack, request_pairs, timeline
from kite_hft.app.day.incident.redaction import Redactor
from kite_hft.app.day.incident.timeline import Event

SECRET = Redactor((b"canary-secret",))


def test_a_text_is_cleaned_and_a_binary_with_a_secret_is_left_out() -> None:
    pack = Pack(SECRET)
    pack.add("a.txt", "before canary-secret behind")
    pack.add_raw("good.bin", b"\x00\x01")
    pack.add_raw("bad.bin", b"\x00canary-secret\x01")
    assert pack.files == {"a.txt": b"before <secret> behind", "good.bin": b"\x00\x01"}
    assert pack.left_out == ["bad.bin: it holds a secret, and cannot be changed"]


def test_a_file_that_is_not_there_is_no_news(tmp_path: Path) -> None:
    pack = Pack(SECRET)
    pack.add_file("x", tmp_path / "none")
    pack.add_file("y", tmp_path)
    assert not pack.files and pack.left_out == ["y: Is a directory"]


def test_the_archive_is_closed_to_others_whole_and_made_once(tmp_path: Path) -> None:
    pack = Pack(SECRET, {"a.txt": b"text", "b/c.bin": b"\x00"})
    target = tmp_path / "x.tar.gz"
    before = os.umask(0)
    try:
        pack.write(target, "top", 1_795_147_200)
    finally:
        os.umask(before)
    assert target.stat().st_mode & 0o777 == 0o600
    with tarfile.open(target) as tar:
        names = {member.name: tar.extractfile(member).read() for member in tar.getmembers()}  # type: ignore[union-attr]
    assert set(names) == {"top/a.txt", "top/b/c.bin", "top/SHA256SUMS"}
    assert f"{hashlib.sha256(b'text').hexdigest()}  a.txt" in names["top/SHA256SUMS"].decode()
    with pytest.raises(FileExistsError):
        pack.write(target, "top", 0)
    assert target.exists()


def test_an_archive_that_cannot_be_finished_is_not_left_behind(tmp_path: Path) -> None:
    pack = Pack(SECRET, {"a": "no bytes"})  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        pack.write(tmp_path / "x.tar.gz", "top", 0)
    assert not (tmp_path / "x.tar.gz").exists()


def test_calls_are_paired_with_their_answers_and_lost_ones_stay_alone() -> None:
    at = 1_795_147_200_123_456_000
    rows = [
        ("INTENT", {"no": 1, "tag": "t1"}),
        ("INTENT", {"no": 2, "tag": "t2"}),
        ("ANSWER", {"no": 1, "call": "place", "outcome": "confirmed"}),
        ("CALL", {"no": 1, "call": "cancel"}),
        ("ANSWER", {"no": 1, "call": "cancel", "outcome": "refused"}),
        ("ANSWER", {"no": 9, "call": "modify", "outcome": "confirmed"}),
    ]
    pairs = request_pairs([{"kind": kind, "time_ns": at, "data": data} for kind, data in rows])
    found = [(p["call"], p["order_no"], "answer" in p and p["answer"]["outcome"]) for p in pairs]
    assert found == [("place", 1, "confirmed"), ("place", 2, False), ("cancel", 1, "refused"),
                     ("modify", 9, "confirmed")]  # fmt: skip
    assert pairs[0]["sent"] == "2026-11-20 09:30:00.123456" and pairs[3]["request"] is None


def test_the_timeline_says_what_is_not_in_it() -> None:
    text = timeline("run x", [Event(0, "log", "hello")], ["frames: not recorded"])
    assert "05:30:00.000  log      hello" in text and text.rstrip().endswith("- frames: not recorded")
