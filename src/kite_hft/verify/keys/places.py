"""Layer 6, campaigns, cold: a vault where others could read or replace it, and a disk that fails while it is
written."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kite_hft.engine.keys.contents import Contents, VaultError
from kite_hft.engine.keys.kdf import PBKDF2, chosen
from kite_hft.engine.keys.sealed import BYTES_MAX
from kite_hft.engine.keys.vault import create, read, remove, rotate, status, update
from kite_hft.verify.keys.bits import CONTENTS, PASSWORD, Tally, sample

NOBODY: Final = 65534
STEPS: Final = ("open", "fchmod", "fdopen", "fsync", "rename")
"""What `os` is asked for while a vault is written; listing, looking and unlocking change nothing."""


def fresh(folder: Path, data: bytes) -> Path:
    """A vault in a folder of its own."""
    if folder.is_symlink():
        folder.unlink()
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    path = folder / "credentials.vault"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def modes(folder: Path) -> Tally:
    """All 512 modes of the file and of its folder: those that let others in are refused, with the fix."""
    tally, path = Tally(), fresh(folder / "modes", sample(chosen(PBKDF2)))
    for mode in range(0o1000):
        for what, asked in ((path, 0o600), (path.parent, 0o700)):
            if mode & 0o700 != asked and os.geteuid():
                continue  # we could not read it ourselves
            what.chmod(mode)
            closed = not mode & 0o077
            try:
                status(path)
                tally.expect(f"{what.name} {mode:04o}: accepted", right=closed)
            except VaultError as error:
                right = not closed and f"chmod {asked:o} " in str(error)
                tally.expect(f"{what.name} {mode:04o}: {error}", right=right)
            what.chmod(asked)
    return tally


def strange_files(folder: Path) -> tuple[Tally, list[str]]:
    """(what was tried, what this machine does not let us try): links, owners, pipes, folders, giants."""
    tally, data, left = Tally(), sample(chosen(PBKDF2)), []
    at = folder / "strange"

    def refused(what: str, word: str, make: Callable[[Path], None]) -> None:
        path = fresh(at, data)
        make(path)
        for name, act in acts(path):
            tally.expect_refused(f"{what}: {name}", act)
            try:
                status(path)
            except VaultError as error:
                tally.expect(f"{what}: the message does not say {word!r}: {error}", right=word in str(error))

    refused("symbolic link", "symbolic link", _symlink)
    refused("dangling symbolic link", "symbolic link", _dangling)
    refused("hard link", "hard links", lambda path: os.link(path, path.with_name("second")))
    refused("pipe", "no plain file", _pipe)
    refused("folder", "no plain file", _folder)
    refused("giant", "no vault", lambda path: os.truncate(path, BYTES_MAX + 1))
    refused("folder is a symbolic link", "symbolic link", _linked_folder)
    if os.geteuid():
        left.append("foreign owners: only root can make such files")
    else:
        refused("foreign file", "belongs to user", lambda path: os.chown(path, NOBODY, -1))
        refused("foreign folder", "belongs to user", lambda path: os.chown(path.parent, NOBODY, -1))
    shutil.rmtree(at, ignore_errors=True)
    shutil.rmtree(folder / "real", ignore_errors=True)
    return tally, left


def acts(path: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Everything that opens a vault."""
    yield "status", lambda: status(path)
    yield "read", lambda: read(path, PASSWORD)
    yield "update", lambda: update(path, PASSWORD, lambda there: None)
    yield "rotate", lambda: rotate(path, PASSWORD, b"another password")
    yield "remove", lambda: remove(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir(0o700)


def _symlink(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to("nowhere")


def _linked_folder(path: Path) -> None:
    real = path.parent.with_name("real")
    shutil.rmtree(real, ignore_errors=True)
    path.parent.rename(real)
    path.parent.symlink_to(real)


# A disk that fails, a person who presses Ctrl-C


@contextmanager
def failing(at: int, error: BaseException, seen: list[str], watch: Callable[[], None]) -> Iterator[None]:
    """The at-th of STEPS raises `error`; seen: the names of those before it. watch: looks before each."""
    kept = {name: getattr(os, name) for name in STEPS}

    def broken(name: str) -> Callable[..., Any]:
        def act(*arguments: Any, **more: Any) -> Any:
            watch()
            if len(seen) == at:
                seen.append(f"{name} fails")
                raise error
            seen.append(name)
            return kept[name](*arguments, **more)

        return act

    for name in STEPS:
        setattr(os, name, broken(name))
    try:
        yield
    finally:
        for name, act in kept.items():
            setattr(os, name, act)


def failures(folder: Path) -> Tally:
    """Every step of an update fails once: the old contents or the new ones, whole, and nothing beside them;
    no file was ever open to others, whatever the umask."""
    tally, data = Tally(), sample(chosen(PBKDF2))
    new: Contents = {"kite/default": {"api_key": "new"}}
    umask = os.umask(0)
    try:
        for make in (lambda: OSError(errno.ENOSPC, "No space left on device"), lambda: KeyboardInterrupt()):
            for at in range(100):
                path = fresh(folder / "failing", data)
                seen: list[str] = []
                loose: list[str] = []
                ended = _fail_once(path, new, at, make(), seen, loose)
                tally.expect(f"step {at} ({seen[-1]}): {loose} open to others", right=not loose)
                left = sorted(found.name for found in path.parent.iterdir())
                tally.expect(f"step {at} ({seen[-1]}): {left} are left", right=left == [path.name])
                renamed = "rename" in seen
                held = held_in(path)
                tally.expect(
                    f"step {at} ({seen[-1]}): other contents", right=held == (new if renamed else CONTENTS)
                )
                if ended:
                    break
    finally:
        os.umask(umask)
    shutil.rmtree(folder / "failing", ignore_errors=True)
    return tally


def held_in(path: Path) -> Contents | None:
    """What the vault holds; None: it cannot be read any more."""
    try:
        return read(path, PASSWORD)
    except VaultError:
        return None


def _fail_once(
    path: Path, new: Contents, at: int, error: BaseException, seen: list[str], loose: list[str]
) -> bool:
    """Whether the update ended without reaching the step that fails."""

    def watch() -> None:
        with os.scandir(path.parent) as rows:
            loose.extend(row.name for row in rows if row.stat(follow_symlinks=False).st_mode & 0o077)

    def change(there: Contents) -> None:
        there.clear()
        there.update(new)

    try:
        with failing(at, error, seen, watch):
            update(path, PASSWORD, change)
    except (VaultError, KeyboardInterrupt, OSError):
        return False
    return True


def writes(folder: Path) -> Tally:
    """Nonces never come twice, a new password has a new salt, and nothing is readable in the file."""
    tally, path = Tally(), folder / "writes" / "credentials.vault"
    create(path, PASSWORD, CONTENTS, PBKDF2)
    nonces, salts = set(), set()
    for n in range(8):
        data = path.read_bytes()
        salts.add(data[20:36])
        nonces.add(data[36:48])
        words = [PASSWORD, *(v.encode() for values in CONTENTS.values() for v in values.values())]
        tally.expect(f"write {n}: something is readable", right=not any(word in data for word in words))
        update(path, PASSWORD, lambda there: None)
    tally.expect("a nonce came twice", right=len(nonces) == 8)
    tally.expect("an update changed the salt", right=len(salts) == 1)
    rotate(path, PASSWORD, b"another password")
    tally.expect("the salt is the old one", right=path.read_bytes()[20:36] not in salts)
    tally.expect_refused("the old password", lambda: read(path, PASSWORD))
    tally.expect_refused("made over an old one", lambda: create(path, PASSWORD, CONTENTS, PBKDF2))
    shutil.rmtree(path.parent)
    return tally
