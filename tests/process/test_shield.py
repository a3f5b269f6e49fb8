"""The shield's campaigns as commands: a changed copy refuses, what is planted is found."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from kite_hft.verify.shield import build_id, secrets
from kite_hft.verify.shield.canaries import Search


def verify(*words: str) -> dict[str, object]:
    """One campaign's line; it must have passed."""
    command = [sys.executable, "-m", "kite_hft.verify", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, (done.stdout, done.stderr)
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_programs_of_a_changed_copy_refuse() -> None:
    assert build_id.changed_copy() == (4, [])


def test_builds_are_asked_for_by_the_name_with_a_hyphen() -> None:
    assert verify("build-id", "--pairs")["ok"]


def test_planted_secrets_are_found_in_each_form(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    search = Search(secrets.MADE_UP)
    assert secrets.planted(tmp_path, search, secrets.MADE_UP) == []
    assert search.looked["planted forms"] > 50 and not list((tmp_path / "state").iterdir())
