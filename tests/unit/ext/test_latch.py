"""A file that is asked for: only the system's own "there is none" counts as absent."""

from __future__ import annotations

import os
from pathlib import Path

from kite_hft import _latch


def test_absent_there_and_gone(tmp_path: Path) -> None:
    told: list[str] = []
    path = tmp_path / "file"
    look = _latch.Look(os.fsencode(path), lambda: "it is there", lambda: told.append("gone"))
    assert look() == "" and told == []
    path.touch()
    assert look() == "it is there" and look() == "it is there" and told == []
    path.unlink()
    assert look() == "" and look() == "" and told == ["gone"]
    path.symlink_to("nowhere")
    assert look() == "it is there"


def test_something_stands_in_for_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    look = _latch.Look(os.fsencode(path), lambda: "it is there", lambda: setattr(look, "absent", ""))
    look.absent = "it should be there"
    assert look() == look() == "it should be there"
    path.touch()
    assert look() == "it is there"
    path.unlink()
    assert look() == "", "who is told that it is gone has the last word"


def test_what_cannot_be_looked_at_counts_as_there(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    below_a_file = _latch.Look(os.fsencode(tmp_path / "plain" / "file"), lambda: "who knows", lambda: None)
    assert below_a_file() == "who knows"  # ENOTDIR
    too_long = _latch.Look(os.fsencode(tmp_path / ("x" * 300)), lambda: "who knows", lambda: None)
    assert too_long() == "who knows"  # ENAMETOOLONG
    no_folder = _latch.Look(os.fsencode(tmp_path / "none" / "file"), lambda: "who knows", lambda: None)
    assert no_folder() == ""
