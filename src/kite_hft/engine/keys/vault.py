"""Layer 5, keys, cold: the vault: one encrypted file with the keys of all brokers and profiles.

What its bytes mean stands in sealed.py. Here is the file: made with O_CREAT|O_EXCL|O_NOFOLLOW and mode
0600, written, fsync, renamed over the old one, the folder fsynced: a crash leaves the old file or the new
one, whole. It is refused when anybody else could read it or put it there: another owner, a looser mode, a
symbolic link, a second name (hard link), a folder that others may enter. Writers take turns (flock on the
folder), so that a login and a person at the prompt lose nothing of each other.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shlex
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kite_hft.engine.keys.contents import Contents, VaultError, VaultMissing, require_password
from kite_hft.engine.keys.kdf import ARGON2ID, SALT_BYTES, BadParameters, Kdf, chosen, derive
from kite_hft.engine.keys.private import Private
from kite_hft.engine.keys.sealed import (
    BYTES_MAX,
    MAGIC,
    NONCE_BYTES,
    Header,
    read_header,
    seal,
    unseal,
)

__all__ = [
    "Contents",
    "VaultError",
    "VaultMissing",
    "VaultStatus",
    "create",
    "default_path",
    "read",
    "remove",
    "rotate",
    "status",
    "update",
    "write",
]

FILE_NAME: Final = "credentials.vault"
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_MAKE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class VaultStatus:
    """What can be told of a vault without its password. kdf: name; strength: its parameters in words.

    changed_real_ns: when it was last written, epoch ns, by the file system.
    """

    path: Path
    kdf: str
    strength: str
    bytes: int
    changed_real_ns: int


def default_path(environ: Mapping[str, str]) -> Path:
    """$KITE_HFT_VAULT, else credentials.vault in $XDG_CONFIG_HOME/kite_hft (~/.config/kite_hft)."""
    if named := environ.get("KITE_HFT_VAULT"):
        return Path(os.path.expanduser(named)).absolute()  # of a user that there is none of: as it stands
    base = Path(environ.get("XDG_CONFIG_HOME") or "")
    return (base if base.is_absolute() else Path.home() / ".config") / "kite_hft" / FILE_NAME


def create(path: Path, password: bytes, contents: Contents, kdf: str = ARGON2ID) -> None:
    """Make a new vault, and its folder (0700) where there is none.

    Raises:
        VaultError: there is one already, the place is not ours alone, no such derivation, a full disk.
    """
    fresh = _sealed_anew(password, contents, _kdf(kdf))
    _make_folder(path.parent)
    with _locked(path) as folder:
        if _exists(folder, path):
            raise VaultError(f"{path}: there is something already; it is never overwritten. "
                             "kite-hft credentials changes single values, --reset removes it")  # fmt: skip
        _replace(folder, path, fresh)


def read(path: Path, password: bytes) -> Contents:
    """All that is in it.

    Raises:
        VaultMissing: no such file. VaultError: wrong password, damaged, or others have access to it.
    """
    with _folder(path) as folder:
        data = _bytes_of(folder, path)
    contents, _, key = _unseal(path, data, password)
    key.close()
    return contents


def write(path: Path, password: bytes, contents: Contents) -> None:
    """Put other contents in the place of all that is there; password and derivation stay.

    Raises:
        VaultError: as `read`; nothing has changed then.
    """

    def put(found: Contents) -> None:
        found.clear()
        found.update(contents)

    update(path, password, put)


def update(path: Path, password: bytes, change: Callable[[Contents], None]) -> Contents:
    """Let `change` alter what is there, as one step: no other writer comes between. Returns the new contents.

    Raises:
        VaultError: as `read`; nothing has changed then. What `change` raises.
    """
    with _locked(path) as folder:
        contents, header, key = _unseal(path, _bytes_of(folder, path), password)
        with key:
            change(contents)
            fresh = seal(contents, header.kdf, header.salt, secrets.token_bytes(NONCE_BYTES), key)
        _replace(folder, path, fresh)
    return contents


def rotate(path: Path, old: bytes, new: bytes, kdf: str | None = None) -> None:
    """Another master password, and another derivation where one is named; the salt is new in any case.

    Raises:
        VaultError: as `read`; the old file stays then.
    """
    with _locked(path) as folder:
        contents, header, key = _unseal(path, _bytes_of(folder, path), old)
        key.close()
        _replace(folder, path, _sealed_anew(new, contents, _kdf(kdf) if kdf else header.kdf))


def status(path: Path) -> VaultStatus:
    """What can be told without the password. The file is whole, by its checksum, and ours alone.

    Raises:
        VaultMissing, VaultError: as `read`.
    """
    with _folder(path) as folder:
        data = _bytes_of(folder, path)
        changed_ns = os.stat(path.name, dir_fd=folder, follow_symlinks=False).st_mtime_ns
    header = _header(path, data)
    return VaultStatus(path, header.kdf.name, str(header.kdf), len(data), changed_ns)


def remove(path: Path) -> None:
    """Delete the vault. A file that is none is left alone.

    Raises:
        VaultMissing: no such file. VaultError: it is no vault, or not ours alone.
    """
    with _locked(path) as folder:
        if not _bytes_of(folder, path).startswith(MAGIC):
            raise VaultError(f"{path}: this is no vault of kite_hft; it stays as it is")
        os.unlink(path.name, dir_fd=folder)
        os.fsync(folder)


# The folder


def _make_folder(path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
    except OSError as error:
        raise VaultError(f"{path}: the folder cannot be made: {error.strerror}") from None


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[int]:
    """A descriptor of the folder that holds the vault, checked; all that follows is relative to it."""
    where = path.parent
    try:
        fd = os.open(where, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise VaultMissing(_missing(path)) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise VaultError(
                f"{where}: a symbolic link, or no folder; name the real place: export KITE_HFT_VAULT="
                f"{shlex.quote(os.path.join(os.path.realpath(path.parent), path.name))}"
            ) from None
        raise VaultError(f"{where}: cannot be opened: {error.strerror}") from None
    try:
        found = os.fstat(fd)
        if found.st_mode & 0o077 and (found.st_mode & stat.S_ISVTX or _is_shared(where)):
            raise VaultError(
                f"{where}: a folder that is not for the vault alone, and others may enter it: give the vault "
                f"one of its own, as KITE_HFT_VAULT={shlex.quote(str(where / 'kite_hft' / path.name))}"
            )
        _require_ours(found, where, 0o700)
        yield fd
    finally:
        os.close(fd)


def _is_shared(folder: Path) -> bool:
    """Whether closing the folder to others would harm more than the vault: `/`, `/etc`, a home."""
    return len(folder.parts) <= 2 or folder == Path(os.path.expanduser("~"))


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[int]:
    """As `_folder`, for the one who writes; what a writer that was killed has left is cleared away."""
    with _folder(path) as folder:
        fcntl.flock(folder, fcntl.LOCK_EX)  # goes with the descriptor
        for name in os.listdir(folder):
            if re.fullmatch(rf"\.{re.escape(path.name)}\.[0-9a-f]{{16}}\.new", name):
                os.unlink(name, dir_fd=folder)
        yield folder


def _require_ours(found: os.stat_result, path: Path, mode: int) -> None:
    """Ours, and open to nobody else."""
    if found.st_uid != os.geteuid():
        raise VaultError(
            f"{path}: belongs to user {found.st_uid}, and this is user {os.geteuid()}: run as that user, or "
            f"chown {os.geteuid()} {shlex.quote(str(path))} if it is yours"
        )
    if found.st_mode & 0o077:
        raise VaultError(
            f"{path}: mode {stat.S_IMODE(found.st_mode):04o} lets others in: "
            f"chmod {mode:o} {shlex.quote(str(path))}"
        )


# The file


def _missing(path: Path) -> str:
    return f"{path}: no vault is there yet; kite-hft credentials makes it"


def _exists(folder: int, path: Path) -> bool:
    try:
        os.stat(path.name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _bytes_of(folder: int, path: Path) -> bytes:
    """The whole file, if it is a plain one of ours alone."""
    try:
        fd = os.open(path.name, _READ, dir_fd=folder)
    except FileNotFoundError:
        raise VaultMissing(_missing(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise VaultError(
                f"{path}: a symbolic link; put the file itself there: "
                f"cp --remove-destination {shlex.quote(os.path.realpath(path))} {shlex.quote(str(path))}"
            ) from None
        raise VaultError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise VaultError(f"{path}: no plain file; remove it, or name another place with KITE_HFT_VAULT")
        _require_ours(found, path, 0o600)
        if found.st_nlink != 1:
            raise VaultError(
                f"{path}: has {found.st_nlink} names (hard links), so that it lies somewhere else, too: "
                f"find the others with find / -xdev -inum {found.st_ino}, and remove them"
            )
        if found.st_size > BYTES_MAX:
            raise VaultError(f"{path}: {found.st_size:,} bytes are no vault ({BYTES_MAX:,} at most)")
        with os.fdopen(fd, "rb", closefd=False) as file:
            return file.read(BYTES_MAX + 1)
    finally:
        os.close(fd)


def _replace(folder: int, path: Path, data: bytes) -> None:
    """Put the file there as one step: whoever reads sees the old one or the new one."""
    fresh = f".{path.name}.{secrets.token_hex(8)}.new"
    try:
        fd = os.open(fresh, _MAKE, 0o600, dir_fd=folder)
        try:
            os.fchmod(fd, 0o600)  # whatever the umask
            with os.fdopen(fd, "wb", closefd=False) as file:
                file.write(data)
            os.fsync(fd)
        finally:
            os.close(fd)
        os.rename(fresh, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise VaultError(
            f"{path}: cannot be written: {error.strerror}; make room, or set KITE_HFT_VAULT to another place"
        ) from None
    except BaseException:  # Ctrl-C
        with contextlib.suppress(OSError):
            os.unlink(fresh, dir_fd=folder)
        raise


# The bytes, with the path in front of what is wrong with them


def _kdf(name: str) -> Kdf:
    try:
        return chosen(name)
    except BadParameters as error:
        raise VaultError(str(error)) from None


def _sealed_anew(password: bytes, contents: Contents, kdf: Kdf) -> bytes:
    require_password(password)
    salt = secrets.token_bytes(SALT_BYTES)
    with derive(kdf, salt, password) as key:
        return seal(contents, kdf, salt, secrets.token_bytes(NONCE_BYTES), key)


def _header(path: Path, data: bytes) -> Header:
    try:
        return read_header(data)
    except VaultError as error:
        raise VaultError(f"{path}: {error}") from None


def _unseal(path: Path, data: bytes, password: bytes) -> tuple[Contents, Header, Private]:
    try:
        return unseal(data, password)
    except VaultError as error:
        raise VaultError(f"{path}: {error}") from None
