"""Two halves written in turn: one whole state stands wherever the writer dies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from kite_hft import builds
from kite_hft.memory import snapshots
from kite_hft.memory.snapshots import HEAD, SnapshotWriter, half_path, newest_number, read_newest


def tree(n: int) -> dict[str, object]:
    return {
        "n": n,
        "rows": np.full((n + 1, 3), n, np.int64),
        "deep": {"bytes": b"x" * n, "name": "a", "none": {}, "every second": np.arange(10)[::2]},
    }


def check(found: dict[str, object] | None, n: int) -> None:
    assert found is not None and found["n"] == n
    assert np.frombuffer(found["rows"], np.int64).tolist() == [n] * 3 * (n + 1)  # type: ignore[call-overload]
    deep = found["deep"]
    assert isinstance(deep, dict) and bytes(deep["bytes"]) == b"x" * n and deep["name"] == "a"
    assert np.frombuffer(deep["every second"], np.int64).tolist() == [0, 2, 4, 6, 8]


def newest(folder: Path) -> dict[str, object] | None:
    found = read_newest(folder, "s")
    return None if found is None else found[1]


def test_the_newest_counts_and_numbers_go_on(tmp_path: Path) -> None:
    assert newest(tmp_path) is None and newest_number(tmp_path, "s") == 0
    writer = SnapshotWriter(tmp_path, "s")
    for n in (1, 5, 3):
        assert writer.write(tree(n)) > 64
        check(newest(tmp_path), n)
    writer.close()
    writer.close()
    again = SnapshotWriter(tmp_path, "s")
    again.write(tree(4))
    assert again.number == 4 == newest_number(tmp_path, "s")
    check(newest(tmp_path), 4)
    assert all(half_path(tmp_path, "s", half).stat().st_mode & 0o777 == 0o600 for half in (0, 1))
    again.close()


@pytest.mark.parametrize("at", ["head", "body", "cut", "empty", "other build"])
def test_a_damaged_half_gives_way_to_the_other(
    tmp_path: Path, at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = SnapshotWriter(tmp_path, "s")
    writer.write(tree(1))
    if at == "other build":
        monkeypatch.setattr(builds, "fingerprint", lambda: 7)
    writer.write(tree(2))
    monkeypatch.undo()
    path = half_path(tmp_path, "s", 0)
    data = bytearray(path.read_bytes())
    if at == "head":
        data[: HEAD.size] = bytes(HEAD.size)  # its writer died
    elif at == "body":
        data[-1] ^= 1
    elif at in ("cut", "empty"):
        data = data[: -1 if at == "cut" else 0]
    path.write_bytes(bytes(data))
    check(newest(tmp_path), 1)
    writer.close()


def test_every_place_to_die_in_leaves_a_whole_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The write is cut short after each of its system calls, and in the middle of the long one."""
    calls = {"left": 0}
    real_pwrite, real_pwritev = os.pwrite, os.pwritev

    def dying(real, *arguments):  # type: ignore[no-untyped-def]
        if calls["left"] == 0:
            raise KeyboardInterrupt
        calls["left"] -= 1
        if real is real_pwritev and calls["left"] == 0:
            fd, parts, at = arguments
            return real_pwrite(fd, b"".join(bytes(part) for part in parts)[:50], at)
        return real(*arguments)

    writer = SnapshotWriter(tmp_path, "s")
    writer.write(tree(1))
    for left in range(3):
        calls["left"] = left
        monkeypatch.setattr(snapshots.os, "pwrite", lambda *a: dying(real_pwrite, *a))
        monkeypatch.setattr(snapshots.os, "pwritev", lambda *a: dying(real_pwritev, *a))
        with pytest.raises((KeyboardInterrupt, OSError)):
            writer.write(tree(9))
        monkeypatch.undo()
        check(newest(tmp_path), 1)
    writer.write(tree(2))
    check(newest(tmp_path), 2)
    writer.close()
