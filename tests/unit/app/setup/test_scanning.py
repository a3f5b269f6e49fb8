"""Secrets are found by shape, never repeated; the hook refuses them in a repository of the test's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from kite_hft.app.setup import scanning

ROOT = Path(__file__).resolve().parents[4]
VALUE = "k3yq9" * 5  # as a key looks, of nobody
BAD = [
    "-----BEGIN " + "EC PRIVATE KEY-----",
    f"api_secret: {VALUE}",
    f"KITE_ACCESS_TOKEN={VALUE}",
    f'"sandbox_token" = "{VALUE}"',
    "x eyJ" + "hbGciOiJI" * 2 + ".eyJ" + "zdWIiOiIx" * 2 + "." + "abc123XYZ_" * 3,
    "AKIA" + "Q3EGVPN2" * 2,
    "gAAAAA" + "Bk9x" * 20,
]


@pytest.mark.parametrize("line", BAD)
def test_a_secret_is_found_and_not_repeated(line: str) -> None:
    (found,) = scanning.in_text("a.yaml", f"mode: sim\n{line}\n".encode())
    assert found.where == "a.yaml:2" and VALUE not in found.what + found.fix


@pytest.mark.parametrize(
    "line",
    ["api_secret: ''", "api_secret: your_api_secret_2026", "access_token=told[0]", "password: str = field()",
     f"api_secret: {VALUE}  # secret-scan: allow"],
)  # fmt: skip
def test_what_is_no_secret_is_let_through(line: str) -> None:
    assert scanning.in_text("a", line.encode()) == []


@pytest.mark.parametrize(("name", "bad"), [
    (".env", True), ("a/.env.live", True), (".env.example", False), ("x.pem", True),
    ("credentials.vault", True),
    ("src/credentials.py", False), ("environment.md", False),
])  # fmt: skip
def test_names(name: str, bad: bool) -> None:
    assert bool(scanning.of_name(name)) is bad


def test_open_files_are_told_with_the_command_that_mends_them(tmp_path: Path) -> None:
    vault = tmp_path / "kite_hft/credentials.vault"
    vault.parent.mkdir(mode=0o700)
    vault.touch(0o600)
    assert scanning.modes(tmp_path, vault) == []
    vault.chmod(0o644)
    (found,) = scanning.modes(tmp_path, vault)
    assert found.fix == f"chmod 0600 '{vault}'"
    vault.unlink()
    vault.symlink_to("/etc/hostname")
    assert scanning.modes(tmp_path, vault)[0].what == "a symbolic link"


def git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    names = {
        f"GIT_{who}_{what}": "a@b.example" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    env = {**{k: v for k, v in os.environ.items() if not k.startswith("GIT_")}, **names}
    return subprocess.run(["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_the_hook_refuses_a_commit_with_secrets(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "core.hooksPath", str(ROOT / ".githooks"))
    (tmp_path / "a.yaml").write_text("mode: sim\n")
    git(tmp_path, "add", "a.yaml")
    assert git(tmp_path, "commit", "-m", "sound").returncode == 0
    for name, text in ((".env", "A=1\n"), ("b.yaml", f"api_secret: {VALUE}\n"), ("c.pem", "x\n")):
        (tmp_path / name).write_text(text)
        git(tmp_path, "add", "-f", name)
        done = git(tmp_path, "commit", "-m", "not sound")
        assert done.returncode and name in done.stderr and VALUE not in done.stderr + done.stdout
        git(tmp_path, "rm", "-q", "--cached", name)
    # what stands in the index counts, not the file that was cleaned after it was added
    (tmp_path / "b.yaml").write_text(f"api_secret: {VALUE}\n")
    git(tmp_path, "add", "b.yaml")
    (tmp_path / "b.yaml").write_text("mode: sim\n")
    assert git(tmp_path, "commit", "-m", "not sound").returncode


def test_the_hook_is_switched_on_once(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "scripts/setup_git_security.py"), "--root", str(tmp_path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1  # no repository
    git(tmp_path, "init", "-q")
    (tmp_path / ".githooks").mkdir()
    (tmp_path / ".githooks/pre-commit").touch()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert git(tmp_path, "config", "core.hooksPath").stdout.strip() == ".githooks"
    git(tmp_path, "config", "core.hooksPath", "elsewhere")
    with pytest.raises(ValueError, match="elsewhere"):
        scanning.switch_on(tmp_path)


def test_this_repository_holds_no_secret() -> None:
    if not scanning.git(ROOT, "rev-parse", "--git-dir"):
        pytest.skip("no git checkout")
    assert scanning.tracked(ROOT) == []
