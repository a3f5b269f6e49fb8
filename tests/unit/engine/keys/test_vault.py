"""The file of the vault: who may have access, what a crash leaves, who writes when."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from vault_tools import CONTENTS, PASSWORD, place, quick

from kite_hft.engine.keys.contents import VaultError, VaultMissing
from kite_hft.engine.keys.kdf import DEFAULTS
from kite_hft.engine.keys.vault import create, default_path, read, remove, rotate, status, update, write
from kite_hft.verify.keys import places


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    quick(monkeypatch)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = place(tmp_path)
    create(made, PASSWORD, CONTENTS, "pbkdf2")
    return made


@pytest.mark.parametrize("kdf", DEFAULTS)
def test_what_is_put_in_comes_out(tmp_path: Path, kdf: str) -> None:
    path = place(tmp_path)
    create(path, PASSWORD, CONTENTS, kdf)
    assert read(path, PASSWORD) == CONTENTS
    found = status(path)
    assert (found.kdf, found.bytes, found.path) == (kdf, path.stat().st_size, path)
    assert found.changed_real_ns == path.stat().st_mtime_ns
    with pytest.raises(VaultError, match="password is wrong"):
        read(path, PASSWORD + b".")


def test_file_and_folder_are_ours_alone_whatever_the_umask(tmp_path: Path) -> None:
    for umask in (0, 0o277):
        path, before = place(tmp_path / f"{umask:o}"), os.umask(umask)
        path.parent.parent.mkdir()
        try:
            create(path, PASSWORD, CONTENTS, "pbkdf2")
        finally:
            os.umask(before)
        assert path.stat().st_mode & 0o7777 == 0o600
        assert path.parent.stat().st_mode & 0o077 == 0


def test_nothing_readable_stands_in_it(path: Path) -> None:
    data = path.read_bytes()
    for word in [
        PASSWORD,
        *(w.encode() for v in CONTENTS.values() for w in [*v, *v.values()]),
        b"kite/default",
    ]:
        assert word not in data


def test_an_old_one_is_never_overwritten(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(VaultError, match="never overwritten"):
        create(path, PASSWORD, {}, "pbkdf2")
    assert path.read_bytes() == before


def test_writing_keeps_the_derivation_and_needs_the_password(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(VaultError, match="password is wrong"):
        write(path, b"another password", {})
    assert path.read_bytes() == before
    write(path, PASSWORD, {"kite/x": {"api_key": "new"}})
    assert read(path, PASSWORD) == {"kite/x": {"api_key": "new"}}
    after = path.read_bytes()
    assert after[:36] == before[:36] and after[36:48] != before[36:48]  # derivation and salt; nonce


def test_a_change_that_fails_changes_nothing(path: Path) -> None:
    before = path.read_bytes()

    def fail(there: dict[str, dict[str, str]]) -> None:
        there.clear()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        update(path, PASSWORD, fail)
    with pytest.raises(VaultError, match="no place"):
        update(path, PASSWORD, lambda there: there.update({"nowhere": {}}))
    assert path.read_bytes() == before and os.listdir(path.parent) == [path.name]


def test_it_is_on_the_disk_before_it_has_its_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """File, name, folder, in this order: a power cut leaves the old one or the new one, whole."""
    done: list[str] = []
    sync, rename = os.fsync, os.rename

    def synced(fd: int) -> None:
        done.append("folder" if stat.S_ISDIR(os.fstat(fd).st_mode) else "file")
        sync(fd)

    def renamed(*args: Any, **more: Any) -> None:
        done.append("name")
        rename(*args, **more)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    write(path, PASSWORD, CONTENTS)
    assert done == ["file", "name", "folder"]


def test_rotation_makes_everything_new(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(VaultError, match="password is wrong"):
        rotate(path, b"not it at all", b"new password")
    with pytest.raises(VaultError, match="no key derivation"):
        rotate(path, PASSWORD, b"new password", "bcrypt")
    with pytest.raises(VaultError, match="needs a master password"):
        rotate(path, PASSWORD, b"")
    assert path.read_bytes() == before
    rotate(path, PASSWORD, b"new password")
    assert path.read_bytes()[20:48] != before[20:48] and status(path).kdf == "pbkdf2"
    assert read(path, b"new password") == CONTENTS
    with pytest.raises(VaultError, match="password is wrong"):
        read(path, PASSWORD)
    rotate(path, b"new password", PASSWORD, "scrypt")
    assert status(path).kdf == "scrypt" and read(path, PASSWORD) == CONTENTS


def test_writers_take_turns(path: Path) -> None:
    """Two that read and write at the same time: nobody's value is lost."""

    def add(who: str) -> None:
        for n in range(20):
            update(
                path, PASSWORD, lambda there, n=n: there.setdefault(f"kite/{who}", {}).update({f"v{n}": "x"})
            )

    threads = [threading.Thread(target=add, args=(who,)) for who in ("a", "b", "c")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read(path, PASSWORD)
    assert {who: len(found[f"kite/{who}"]) for who in "abc"} == {"a": 20, "b": 20, "c": 20}


def test_what_a_killed_writer_left_is_cleared_away(path: Path) -> None:
    left = path.with_name(f".{path.name}.{'a' * 16}.new")
    left.write_bytes(b"half")
    other = path.with_name("notes.txt")
    other.write_text("mine")
    update(path, PASSWORD, lambda there: None)
    assert not left.exists() and other.exists()


@pytest.mark.parametrize("act", ["status", "read", "update", "rotate", "remove"])
def test_a_missing_vault_says_how_it_is_made(tmp_path: Path, act: str) -> None:
    for folder in (tmp_path / "none", tmp_path):
        path = folder / "credentials.vault"
        acts: dict[str, Callable[[], object]] = dict(places.acts(path))
        with pytest.raises(VaultMissing, match="kite-hft credentials makes it"):
            acts[act]()


def test_only_a_vault_is_removed(path: Path) -> None:
    other = path.with_name("other")
    other.write_text("something else")
    other.chmod(0o600)
    with pytest.raises(VaultError, match="no vault"):
        remove(other)
    assert other.exists()
    path.write_bytes(path.read_bytes()[:-9])  # a damaged one can go
    remove(path)
    assert not path.exists()


def test_places_that_others_reach_are_refused(tmp_path: Path) -> None:
    tally = places.modes(tmp_path)
    assert tally.tried >= 128 and not tally.wrong
    tally, left = places.strange_files(tmp_path)
    assert tally.tried >= 70 and not tally.wrong
    assert (os.geteuid() == 0) == (not left)


def test_an_update_broken_off_anywhere_leaves_a_whole_file(tmp_path: Path) -> None:
    tally = places.failures(tmp_path)
    assert tally.tried >= 40 and not tally.wrong


def test_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    usual = tmp_path / ".config/kite_hft/credentials.vault"
    assert default_path({}) == default_path({"XDG_CONFIG_HOME": "relative"}) == usual
    assert default_path({"XDG_CONFIG_HOME": "/etc/x"}) == Path("/etc/x/kite_hft/credentials.vault")
    assert default_path({"KITE_HFT_VAULT": "/v/a.vault", "XDG_CONFIG_HOME": "/x"}) == Path("/v/a.vault")
    assert default_path({"KITE_HFT_VAULT": "~/a.vault"}) == tmp_path / "a.vault"
    assert default_path({"KITE_HFT_VAULT": "a.vault"}) == Path.cwd() / "a.vault"


@pytest.mark.parametrize("folder", ["/", "/tmp", "~"])
def test_a_folder_of_others_is_not_to_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """`chmod 700 /` would mend the vault and break the machine."""
    monkeypatch.setenv("HOME", str(tmp_path))
    tmp_path.chmod(0o755)
    place = default_path({"KITE_HFT_VAULT": f"{folder}/some.vault"})
    with pytest.raises(VaultError, match=r"one of its own, as KITE_HFT_VAULT=.*/some\.vault") as told:
        status(place)
    assert "chmod" not in str(told.value)


def test_the_home_of_nobody_is_a_place_like_any_other() -> None:
    place = default_path({"KITE_HFT_VAULT": "~nobody_at_all/x.vault"})
    with pytest.raises(VaultMissing, match="no vault is there yet"):
        status(place)
