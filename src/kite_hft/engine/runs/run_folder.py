"""Layer 5, supervisor, cold: the folder of a run and the lock of an account.

`<state>/kite_hft/<broker>-<account>/<IST date>/<run>/` holds all that a run leaves behind;
nothing of an earlier run is overwritten. `latest` points to the newest. One lock per account:
two engines would each believe that they alone know the book. The account's name is ours alone, so that
there is a second lock, of what the broker knows the account by.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import re
import secrets
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from kite_hft.sessions import ist_text

if TYPE_CHECKING:  # verbs that only look load no models
    from kite_hft.settings import Settings

ATTEMPTS: Final = 19  # runs that may start in one second: 86,400 x 19 < 36^4
SECRET: Final = re.compile(
    r"""((?:api_key|api_secret|access_token|sandbox_token|password|totp_secret"""
    r"""|webhook|telegram_bot_token|heartbeat_url|token)["']?\s*:\s*)[^,}\n]+"""
)
"""Key and separator of what must not be copied, in YAML's block and flow style."""
IN_FORCE: Final = "configuration.txt"
"""Of a run folder: every key in force and where it is from."""
BASE36: Final = "0123456789abcdefghijklmnopqrstuvwxyz"


class AccountLocked(Exception):
    """Another engine runs on this account."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Where a run writes. `account_tag` stands for the account and `name` for the run in the name
    of its shared memory; `install` (three characters) and `number` (below 36^4, another one for
    each run of a day) go into order tags. `copies`: of which file each copy in it is."""

    path: Path
    account_tag: str
    lock: Path
    name: str
    lock_fd: int
    install: str
    number: int
    config_hash: int
    rules_hash: int
    copies: Mapping[Path, Path] = field(default_factory=dict)
    login: tuple[Path, int] | None = None  # the second lock, and its descriptor

    def release(self) -> None:
        """Let go of the account."""
        for path, fd in filter(None, ((self.lock, self.lock_fd), self.login)):
            path.unlink(missing_ok=True)
            os.close(fd)


def state_dir(environment: Mapping[str, str]) -> Path:
    """`$XDG_STATE_HOME/kite_hft`, by default `~/.local/state/kite_hft`.

    Raises:
        OSError: neither is known: a user without a name, and no HOME.
    """
    base = environment.get("XDG_STATE_HOME") or ""
    try:
        root = Path(base) if Path(base).is_absolute() else Path.home() / ".local/state"
    except RuntimeError:
        raise OSError(
            "this user has no home folder that is known: set HOME, or XDG_STATE_HOME to the folder in which "
            "kite_hft keeps its runs"
        ) from None
    return root / "kite_hft"


def account_tag(broker: str, account: str) -> str:
    """Stands for the account in names of shared memory: short and lower-case."""
    return f"{broker}-{hashlib.sha256(account.encode()).hexdigest()[:8]}"


def lock_account(home: Path, tag: str, what: str) -> int:
    """Take the lock of an account on this machine; the descriptor holds it, also through a crash.

    It lies beside the shared memory and not in the state directory, which may be another one for
    each start: two engines on one account are refused whatever their environment.

    Raises:
        AccountLocked: held; the message names the other engine's process.
    """
    path = home / f"{tag}.lock"
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 100, 0).decode(errors="replace").partition("\n")[0].strip() or "unknown"
            os.close(fd)
            raise AccountLocked(f"an engine already runs on {what} ({holder}); stop it first") from None
        if os.fstat(fd).st_nlink:  # not removed by its last holder between our open and our lock
            break
        os.close(fd)
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"process {os.getpid()}".encode(), 0)
    return fd


def login_of(settings: Settings) -> str:
    """What the broker knows the account of a run by, as far as the configuration tells: the address and the
    key. "": the run has a broker of its own (the embedded simulator, paper).
    """
    section = settings.kite if settings.broker == "kite" else settings.upstox
    if settings.mode == "paper" or not section.access_token:
        return ""
    return f"{section.api_url.rstrip('/').lower()} {section.api_key}"


def lock_login(home: Path, broker: str, login: str) -> tuple[Path, int]:
    """Take the lock of a login on this machine, whatever name the account has in its configuration.

    Raises:
        AccountLocked: held; the message names the other engine's process.
    """
    tag = f"{broker}-login-{hashlib.sha256(login.encode()).hexdigest()[:16]}"
    return home / f"{tag}.lock", lock_account(
        home, tag, f"this api key of {broker}, under another account name"
    )


def open_run(
    root: Path,
    home: Path,
    broker: str,
    account: str,
    now_real_ns: int,
    copies: list[Path],
    login: str = "",
    *,
    configs: int = 1,
    more: str = "",
) -> RunFolder:
    """Lock the account and make the folder of a new run, with copies of config and rules.

    copies: the configuration, `configs` files, then the dated rules files; more: what else was configured,
    by variables. Hashes of all and of the rules alone stand in
    the journal's header.

    root: the state directory; home: this user's folder in shared memory. login: see `login_of`.

    Raises:
        AccountLocked: another engine holds the account.
        OSError: the folder cannot be made.
    """
    folder = root / f"{broker}-{account}"
    tag = account_tag(broker, account)
    lock, lock_fd = home / f"{tag}.lock", lock_account(home, tag, f"{broker} account {account}")
    try:
        known_as = lock_login(home, broker, login) if login else None
    except AccountLocked:
        lock.unlink()
        os.close(lock_fd)
        raise
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    date, clock = ist_text(now_real_ns).split(" ")
    base = clock.replace(":", "")
    for attempt in range(ATTEMPTS):
        name = base if not attempt else f"{base}-{attempt}"
        path = folder / date / name
        try:
            path.mkdir(parents=True, mode=0o700)
            break
        except FileExistsError:
            continue
    else:
        os.close(lock_fd)
        if known_as:
            os.close(known_as[1])
        raise FileExistsError(f"{ATTEMPTS} runs of {broker}-{account} started in this second; try again")
    digest, rules, copied = hashlib.sha256(), hashlib.sha256(), dict[Path, Path]()
    for number, source in enumerate(copies):
        if source not in copied:
            copied[source] = path / _free_name(source, {target.name for target in copied.values()})
            copy_without_secrets(source, copied[source])
        digest.update(source.read_bytes())
        if number >= configs:
            rules.update(source.read_bytes())
    digest.update(more.encode())
    _point_latest(folder, path)
    hours, minutes, seconds = (int(part) for part in clock.split(":"))
    number = (hours * 3600 + minutes * 60 + seconds) * ATTEMPTS + attempt
    config_hash = int.from_bytes(digest.digest()[:8], "little")
    rules_hash = int.from_bytes(rules.digest()[:8], "little")
    install = install_id(root)
    return RunFolder(
        path, tag, lock, name, lock_fd, install, number, config_hash, rules_hash, copied, known_as
    )  # fmt: skip


def _free_name(source: Path, taken: Collection[str]) -> str:
    """The file's own name; with a number where another folder's file of the same name was copied before."""
    names = (f"{source.stem}-{number}{source.suffix}" for number in itertools.count(2))
    return next(name for name in itertools.chain([source.name], names) if name not in taken)


def copy_without_secrets(source: Path, target: Path) -> None:
    """A copy for the record, readable by its owner only; the values of keys and tokens are blanked."""
    text = SECRET.sub(r"\1<not copied>", source.read_text("utf-8"))
    write_private(target, text)


def write_private(target: Path, text: str) -> None:
    """A new file that its owner alone can read."""
    fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)


def install_id(root: Path) -> str:
    """Three characters that tell this installation's orders from another's; made once."""
    path = root / "install"
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return path.read_text()
    with os.fdopen(fd, "w") as file:
        text = "".join(secrets.choice(BASE36) for _ in range(3))
        file.write(text)
    return text


def _point_latest(folder: Path, path: Path) -> None:
    """Swap the `latest` link in one rename: it points to the old run or to the new one."""
    link = folder / f".latest-{os.getpid()}"
    link.unlink(missing_ok=True)
    link.symlink_to(path.relative_to(folder))
    link.replace(folder / "latest")
