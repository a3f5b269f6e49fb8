"""Packages against the lock, compiled modules against their sources."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from kite_hft import builds
from kite_hft.app.day.doctor.building import build_facts, differing, locked, mixed


def test_a_lock_file_is_read_with_its_markers() -> None:
    text = (
        "numpy==2.4.6 ; python_version < '3.12' \\\n    --hash=sha256:00\n"
        "numpy==2.5.5 ; python_version >= '3.12' \\\n"
    )
    assert locked(text) == {"numpy": (["2.4.6", "2.5.5"], True)}


def test_what_differs_is_named_and_what_is_for_others_is_not() -> None:
    here = importlib.metadata.version("typer")
    assert differing(f"typer=={here}\nwinonly-thing==1 ; sys_platform == 'win32'\n") == ()
    assert differing("typer==0.0.1\n") == (f"typer {here}, locked 0.0.1",)
    assert differing("no-such-thing==2\n") == ("no-such-thing is missing, locked 2",)


def test_each_module_that_is_mixed_is_named_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds, "mixed", lambda package: ["_ring has id 1, this build 2"])
    both = ["_ring is older than ring.h", "_queue is older than queue.h"]
    monkeypatch.setattr(builds, "stale", lambda package, folder: both)
    assert mixed(tmp_path, tmp_path) == ("_ring has id 1, this build 2", "_queue is older than queue.h")


def test_this_build_is_whole() -> None:
    found = build_facts()
    assert found.modules > 20 and not found.missing and found.supported and len(found.build) == 16
