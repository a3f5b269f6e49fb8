"""The C decoder under AddressSanitizer and UBSan over random frames (kite_packet_fuzz.c)."""

from __future__ import annotations

from pathlib import Path

from sanitized import counted

FRAMES = 60_000


def test_random_frames_under_sanitizers(tmp_path: Path) -> None:
    found = counted("kite_packet_fuzz.c", FRAMES, tmp_path, ["-std=c11"], 120)
    assert min(found) > FRAMES // 100, found
