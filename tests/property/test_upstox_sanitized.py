"""Upstox's C decoder under AddressSanitizer and UBSan over random and spoiled frames (upstox_fuzz.c)."""

from __future__ import annotations

from pathlib import Path

from sanitized import counted

FRAMES = 100_000


def test_random_frames_under_sanitizers(tmp_path: Path) -> None:
    found = counted("upstox_fuzz.c", FRAMES, tmp_path, ["-std=gnu11", "-Wno-unused-function"], 240)
    assert min(found) > FRAMES // 100, found
