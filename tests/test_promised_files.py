"""Files that people were promised by name, and what git never takes."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROMISED = (
    "requirements.txt", ".env.example", "config/config.yaml.example", "STRATEGY_TEMPLATE.md", "SECURITY.md",
    "LICENSE", "scripts/setup_credentials.py", "scripts/create_metadata.py", "scripts/quick_start.py",
    "scripts/security_scan.py", "scripts/setup_git_security.py", ".githooks/pre-commit",
    "examples/basic_usage.py", "docs/NEW_USER_GUIDE.md", "docs/security.md", "docs/github_security.md",
    "docs/auto_login.md", "docs/first-morning.md",
)  # fmt: skip
NEVER = (
    ".env", ".env.live", "credentials.encrypted", "credentials.vault", ".salt", "x.vault.1.new", "a.pem",
    "b.key", "access_token.txt", "config/config.yaml", "config/config.live.yaml", "trades.csv",
)  # fmt: skip
ALWAYS = (
    ".env.example",
    "config/config.yaml.example",
    "config/demo.yaml",
    "src/kite_hft/app/keys/credentials.py",
)


@pytest.mark.parametrize("name", PROMISED)
def test_it_is_there(name: str) -> None:
    assert (ROOT / name).is_file() and (ROOT / name).stat().st_size > 40


def test_the_requirements_are_the_locked_ones() -> None:
    lines = [
        line for line in (ROOT / "requirements.txt").read_text().splitlines() if line[:1] not in ("#", "")
    ]
    assert lines == ["-r locks/runtime.txt"], "one place says which packages"
    locked = (ROOT / "locks/runtime.txt").read_text()
    pins = re.findall(r"^([A-Za-z0-9_.\[\]-]+)==", locked, re.MULTILINE)
    declared = (ROOT / "pyproject.toml").read_text().partition("\ndependencies = [")[2].partition("]\n")[0]
    wanted = re.findall(r'"([A-Za-z0-9_-]+)', declared)
    assert len(wanted) > 10 and set(wanted) <= set(pins)
    assert locked.count("--hash=sha256:") > len(pins)


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="no git, or no checkout"
)
def test_git_leaves_secrets_alone() -> None:
    def ignored(name: str) -> bool:
        command = ["git", "-C", str(ROOT), "check-ignore", "--quiet", "--no-index", name]
        return subprocess.run(command, check=False).returncode == 0

    assert [name for name in NEVER if not ignored(name)] == []
    assert [name for name in ALWAYS if ignored(name)] == []
