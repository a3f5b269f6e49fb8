"""Layer 6, by hand and before each commit, cold: secrets and open files where they must not be.

What a file says is looked at by shape: private keys, tokens, `api_secret: ...` with a value, sealed files.
A finding names file, line and shape, never the text. Only the standard library, so that a hook is quick.
"""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

SECRET_KEYS: Final = (
    "api_secret|access_token|request_token|sandbox_token|analytics_token|totp_secret|password|bot_token"
)
NO_VALUES: Final = re.compile(
    r"(?i)^(your|example|dummy|fake|test|sample|change|placeholder|none|null|secret|token|<|\$|\{|\*|\.\.\.)"
)
SHAPES: Final = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "JWT": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{20,}"),
    "token of GitHub": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{36}\b"),
    "key of AWS": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "token of Telegram": re.compile(r"\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    "Fernet file": re.compile(r"^gAAAAA[A-Za-z0-9_-]{60,}={0,2}$"),
}
VALUE: Final = re.compile(
    rf"""(?ix)\b(?:kite_|upstox_)?({SECRET_KEYS})["']?\s*[:=]\s*["']?([A-Za-z0-9+/_.=-]{{16,}})["']?\s*(?:\#.*)?$"""
)
NAMES: Final = re.compile(
    r"(^|/)(\.env(\.(?!example$)[^/]*)?|[^/]*\.(key|pem|enc|vault|p12|pfx)|access_token[^/]*)$"
)
TEXT_MAX: Final = 2 << 20
PRIVATE: Final = 0o077
ALLOWED: Final = "secret-scan: allow"
"""On a line: a made-up value of a test."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, where, and what mends it. The text itself is never in it."""

    where: str
    what: str
    fix: str


def git(root: Path, *words: str) -> bytes:
    """Output of a git command; b"" where there is no repository."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else b""


def in_text(where: str, data: bytes) -> list[Finding]:
    """Secrets by their shape; binary and very long files are passed over."""
    if b"\0" in data[:8192] or len(data) > TEXT_MAX:
        return []
    found = []
    for number, line in enumerate(data.decode("utf-8", "replace").splitlines(), 1):
        if ALLOWED in line:
            continue
        kinds = [kind for kind, shape in SHAPES.items() if shape.search(line)]
        value = VALUE.search(line)
        if value and not NO_VALUES.match(value[2]) and any(c.isdigit() for c in value[2]):
            kinds.append(f"value of {value[1].lower()}")
        fix = "take it out, and make a new one at the broker if it was ever pushed; keep it in the vault"
        found += [Finding(f"{where}:{number}", kind, fix) for kind in kinds]
    return found


def of_name(name: str) -> list[Finding]:
    """A file that must not be committed whatever it holds."""
    fix = f"git rm --cached '{name}'; .gitignore names it"
    return [Finding(name, "a file that holds secrets", fix)] if NAMES.search(name) else []


def staged(root: Path) -> list[Finding]:
    """Of what the next commit would take, as it stands in the index."""
    names = git(root, "diff", "--cached", "--name-only", "-z", "--diff-filter=ACMRT").decode().split("\0")
    return _committed(root, names)


def tracked(root: Path) -> list[Finding]:
    """Of all files in the index."""
    return _committed(root, git(root, "ls-files", "-z", "--cached").decode().split("\0"))


def _committed(root: Path, names: list[str]) -> list[Finding]:
    found = []
    for name in filter(None, names):
        found += of_name(name) or in_text(name, git(root, "show", f":{name}"))
    return found


def modes(root: Path, vault: Path) -> list[Finding]:
    """Files with secrets that others can read: vault, its folder, configurations, `.env`."""
    found = []
    private = [vault, vault.parent, *root.glob(".env"), *root.glob(".env.*"), root / "config/config.yaml"]
    for path in private:
        if not path.exists() or path.name == ".env.example":
            continue
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found.append(Finding(str(path), "a symbolic link", "put the file itself there"))
        elif status.st_uid != os.getuid():
            found.append(Finding(str(path), "belongs to somebody else", f"chown {os.getuid()} '{path}'"))
        elif status.st_mode & PRIVATE:
            mode = "0700" if path.is_dir() else "0600"
            said = f"others can use it (mode {stat.S_IMODE(status.st_mode):04o})"
            found.append(Finding(str(path), said, f"chmod {mode} '{path}'"))
    return found


def configurations(root: Path) -> list[Finding]:
    """Configurations with secrets in clear text, committed or not."""
    paths = [*sorted((root / "config").glob("*.yaml")), *root.glob(".env"), *root.glob(".env.*")]
    found = [f for p in paths if p.name != ".env.example" for f in in_text(str(p), p.read_bytes())]
    return [Finding(f.where, f.what, "kite-hft credentials: keys belong in the vault") for f in found]


def scan(root: Path, vault: Path) -> list[Finding]:
    """Everything: the index, modes, configurations, whether the hook is on."""
    found = [*tracked(root), *modes(root, vault), *configurations(root)]
    hooks = git(root, "config", "core.hooksPath").decode().strip()
    if git(root, "rev-parse", "--git-dir") and not hooks.endswith(".githooks"):
        found.append(
            Finding(".git", "the hook against secrets is off", "python scripts/setup_git_security.py")
        )
    return list(dict.fromkeys(found))


def switch_on(root: Path) -> str:
    """Let git run .githooks of this repository; what was done.

    Raises:
        ValueError: no repository, or another hooks folder is set already.
    """
    if not git(root, "rev-parse", "--git-dir"):
        raise ValueError(f"{root} is no git repository: clone it, or run git init there")
    before = git(root, "config", "core.hooksPath").decode().strip()
    if before and before != ".githooks":
        raise ValueError(f"git runs the hooks of {before} already: call .githooks/pre-commit from there")
    subprocess.run(["git", "-C", str(root), "config", "core.hooksPath", ".githooks"], check=True)
    (root / ".githooks/pre-commit").chmod(0o755)
    return "git commit looks for secrets from now on (core.hooksPath = .githooks)"


def told(found: list[Finding], *, as_json: bool, more: Mapping[str, object]) -> str:
    """For a terminal, or one JSON object."""
    if as_json:
        return json.dumps({"ok": not found, **more, "findings": [asdict(f) for f in found]})
    lines = [f"{f.where}: {f.what}\n    fix: {f.fix}" for f in found]
    return "\n".join([*lines, *(f"{key}: {value}" for key, value in more.items()),
                      f"{len(found)} findings" if found else "no secret found"])  # fmt: skip
