"""Layer 6, by hand, cold: `kite-hft credentials`: the vault with the keys of all brokers.

Values come from prompts or standard input, never from arguments. The file is written once, when everything
is known: Ctrl-C at any prompt leaves it as it was.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import typer

from kite_hft.app.answering import INTERRUPTED, NOT_SO, USAGE, JsonOption, print_json, refuse, say
from kite_hft.app.keys import credential_options as of
from kite_hft.app.keys import fields, vault_status
from kite_hft.app.keys.asking import NEW_MASTER, OLD_MASTER, Asking, asking
from kite_hft.app.keys.vault_options import PasswordFdOption, ProfileOption, VaultFileOption
from kite_hft.engine.keys.contents import PLACES, Contents, VaultError, VaultMissing
from kite_hft.engine.keys.kdf import DEFAULTS
from kite_hft.engine.keys.password import (
    NoPassword,
    as_bytes,
    find_password,
    hidden_prompt,
    require_good,
)
from kite_hft.engine.keys.private import harden_process
from kite_hft.engine.keys.vault import create, default_path, read, remove, rotate, status, update

OPEN: Final = "master password of the vault"
NEW: Final = "new master password"
LINE: Final = "line master_password=... on standard input"


class WrongOptions(Exception):
    """Options that do not go together; the message says how they do."""


@dataclass(frozen=True, slots=True)
class Vault:
    """The vault that the options mean, and how to get into it. given: the password of --password-fd."""

    path: Path
    given: bytes
    kdf: str | None
    asking: Asking

    def exists(self) -> bool:
        """Raises VaultError: there is something that cannot be used."""
        try:
            status(self.path)
        except VaultMissing:
            return False
        return True

    def password(self) -> bytes:
        """Of the vault that there is."""
        return self._found(self.asking.password(OPEN))

    def new_password(self) -> bytes:
        """For a vault that is about to be made."""
        return self._good(self._found(self.asking.new_password(NEW)))

    def next_password(self) -> bytes:
        """In the place of the one it has: typed, or a line; no other source can hold two."""
        typed = self.asking.new_password(NEW, name=NEW_MASTER)
        return self._good(find_password(fd=None, prompt=typed, environ={}, keyring=False))

    def _found(self, prompt: Callable[[], str]) -> bytes:
        """A line that was handed over for this counts before what the machine or the environment holds."""
        line = "" if self.asking.person else prompt()
        if self.given or line:
            return self.given or as_bytes(line)
        try:
            return find_password(fd=None, prompt=prompt, environ=os.environ, say=warn)
        except NoPassword as error:
            raise error if self.asking.person else NoPassword(f"{error}; or begin with a {LINE}") from None

    @staticmethod
    def _good(password: bytes) -> bytes:
        require_good(password)
        return password

    def put(self, changes: Contents, password: bytes, *, fresh: bool) -> Contents:
        """Write; what somebody else wrote meanwhile stays. Returns all that is in it now."""
        if fresh:
            made: Contents = {}
            fields.merged(made, changes)
            create(self.path, password, made, self.kdf or "argon2id")
            return made
        return update(self.path, password, lambda there: fields.merged(there, changes))


def credentials(
    broker: of.Broker = "kite",
    profile: ProfileOption = "default",
    show: of.Show = False,
    names: of.Names = False,
    one: of.One = "",
    gone: of.Gone = "",
    source: of.Source = None,
    salt: of.Salt = None,
    turn: of.Turn = False,
    reset: of.Reset = False,
    yes: of.Yes = False,
    kdf: of.Kdf = "",
    login_secrets: of.LoginSecrets = False,
    file: VaultFileOption = None,
    password_fd: PasswordFdOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep the keys of your brokers, and how you are told of alerts, in one encrypted file: the vault.

    Without an option it asks for the keys of a broker and makes the vault
    where there is none. Nothing is written before the end.

    Scripts give lines on standard input, with the names of the vault or of
    a .env file:  master_password=...  api_key=...  UPSTOX_API_SECRET=...

    The master password comes from --password-fd, the line master_password,
    a systemd credential (kite_hft-master), the kernel keyring (user key
    kite_hft:master), with a warning from KITE_MASTER_PASSWORD, and else
    from the prompt. It is stored nowhere: without it the keys are lost,
    and are made anew at the broker.

    --login-secrets: neither your login's password nor the secret of its
    one-time codes is needed here; together they are both its factors.

    Exit codes: 0 done, 1 refused or not there, 2 wrong options, 130 broken
    off (nothing was changed).
    """
    harden_process()
    with told():
        actions = {"--status": show, "--set": one, "--remove": gone, "--import": source, "--rotate": turn,
                   "--reset": reset}  # fmt: skip
        require_one(actions, names=names, salt=salt, yes=yes, kdf=kdf)
        section = fields.section_of(broker, profile)
        path = (file or default_path(os.environ)).absolute()
        if show:
            return show_status(path, password_fd, names=names, as_json=as_json)
        if reset:
            delete(path, yes=yes)
            if as_json:
                print_json({"ok": True, "vault": str(path), "deleted": True})
            return
        # The descriptor may be standard input: its first line is read before all others.
        given = find_password(fd=password_fd, prompt=None, environ={}) if password_fd is not None else b""
        vault = Vault(path, given, kdf or None, asking(one))
        if turn:
            change_password(vault)
        elif gone:
            take_out(vault, section, gone)
        elif one:
            fields.require_name(broker, one, login_secrets=login_secrets)
            set_one(vault, section, one)
        elif source is not None:
            bring_in(vault, source, salt, profile, login_secrets=login_secrets)
        elif vault.asking.person:
            set_up(vault, broker, profile)
        else:
            from_lines(vault, broker, profile, login_secrets=login_secrets)
        if as_json:
            print_json({"ok": True, "vault": str(path), "section": section})


@contextlib.contextmanager
def told() -> Iterator[None]:
    """What goes wrong is one line on standard error, never a traceback with a secret in it."""
    code = NOT_SO
    try:
        yield
        return
    except KeyboardInterrupt:
        text, code = "broken off; nothing was changed", INTERRUPTED
    except EOFError:
        text = "the input has ended; nothing was changed"
    except (WrongOptions, fields.NotTaken) as error:
        text, code = str(error), USAGE
    except (VaultError, OSError) as error:
        text = str(error)
    raise refuse("credentials", text, code)


def warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)


def require_one(actions: dict[str, object], *, names: bool, salt: Path | None, yes: bool, kdf: str) -> None:
    """Options that go together.

    Raises:
        WrongOptions: they do not.
    """
    asked = [name for name, value in actions.items() if value]
    if len(asked) > 1:
        raise WrongOptions(f"{' and '.join(asked)}: one at a time")
    pairs = [("--names", names, "--status"), ("--salt", salt, "--import"),
             ("--yes", yes, "--reset")]  # fmt: skip
    for option, value, needed in pairs:
        if value and needed not in asked:
            raise WrongOptions(f"{option} goes with {needed}")
    if kdf and kdf not in DEFAULTS:
        raise WrongOptions(f"--kdf {kdf}: there are {', '.join(DEFAULTS)}")


# What can be done


def show_status(path: Path, password_fd: int | None, *, names: bool, as_json: bool) -> None:
    contents = None
    if (names or password_fd is not None) and path.exists():
        status(path)  # before anybody is asked for a password
        prompt = hidden_prompt(f"{OPEN} (not shown): ")
        contents = read(path, find_password(fd=password_fd, prompt=prompt, environ=os.environ, say=warn))
    found = vault_status.look(path, contents, time.time_ns())
    if as_json:
        print_json(found)
    else:
        say("\n".join(vault_status.words(found)))
    if not found["exists"]:
        raise typer.Exit(NOT_SO)


def delete(path: Path, *, yes: bool) -> None:
    lost = "every key in it is lost, and made anew at the broker"
    if not yes:
        if not sys.stdin.isatty():
            raise WrongOptions("--reset asks before it deletes, and nobody is at a terminal: add --yes")
        if input(f"delete {path}? {lost}. Type reset: ").strip() != "reset":
            raise VaultError("not confirmed; nothing was changed")
    remove(path)
    say(f"{path} is deleted. If somebody may have read it with its password, revoke the keys at the broker")


def change_password(vault: Vault) -> None:
    status(vault.path)
    old = vault.password()
    read(vault.path, old)  # a wrong one is told before a new one is asked for
    rotate(vault.path, old, vault.next_password(), vault.kdf)
    say(f"{vault.path} has its new master password ({status(vault.path).strength})")
    say("copies of the old file still open with the old one: delete them")


def take_out(vault: Vault, section: str, name: str) -> None:
    status(vault.path)

    def without(there: Contents) -> None:
        values = there.get(section, {})
        if name not in values:
            held = ", ".join(sorted(values)) or "nothing"
            raise VaultError(f"{section} has no value {name!r}; it has {held}")
        for key in (name, f"{name}_until"):
            values.pop(key, None)
        if not values:
            del there[section]

    update(vault.path, vault.password(), without)
    say(f"{section}: {name} is taken out")


def set_one(vault: Vault, section: str, name: str) -> None:
    fresh = not vault.exists()
    password = vault.new_password() if fresh else vault.password()
    if not fresh and vault.asking.person:
        read(vault.path, password)  # a wrong one is told before the value is asked for
    value = vault.asking.ask(name, f"{section}: {name}", hidden=name in fields.HIDDEN)
    fields.require_value(name, value)
    done(vault, {section: {name: value}}, password, fresh=fresh)


def bring_in(vault: Vault, source: Path, salt: Path | None, profile: str, *, login_secrets: bool) -> None:
    """Keys of an older file; what the vault has already stays."""
    from kite_hft.engine.keys.old_files import is_fernet, read_env, read_fernet

    if is_fernet(source):
        prompt = vault.asking.password(f"master password of {source.name}", name=OLD_MASTER)
        old = find_password(fd=None, prompt=prompt, environ={}, keyring=False)
        found = read_fernet(source, old, profile, salt=salt, login_secrets=login_secrets)
    else:
        found = read_env(source, profile, login_secrets=login_secrets)
    fresh = not vault.exists()
    password = vault.new_password() if fresh else vault.password()
    there = {} if fresh else read(vault.path, password)
    kept = [
        f"{s} {name}" for s, values in found.contents.items() for name in values if name in there.get(s, {})
    ]
    news = {
        section: values
        for section, all_values in found.contents.items()
        if (values := {n: v for n, v in all_values.items() if n not in there.get(section, {})})
    }
    for line in found.warnings:
        warn(line)
    for line in found.left_out:
        say(f"left out: {line}")
    for line in kept:
        say(f"kept: {line}, which the vault has already (--set changes it)")
    if news:
        done(vault, news, password, fresh=fresh)
    say(f"when everything works, delete the old file: shred -u {source}")


def from_lines(vault: Vault, broker: str, profile: str, *, login_secrets: bool) -> None:
    """Values that standard input gave."""
    changes, left = fields.take_lines(vault.asking.lines or {}, broker, profile, login_secrets=login_secrets)
    for line in (*left, *vault.asking.unread):
        say(f"left out: {line}")
    if not changes:
        raise WrongOptions("standard input gave no value; lines NAME=VALUE are expected, as api_key=...")
    fresh = not vault.exists()
    done(vault, changes, vault.new_password() if fresh else vault.password(), fresh=fresh)


def set_up(vault: Vault, broker: str, profile: str) -> None:
    """A person's first hour: all keys of a broker, then of another if there is one."""
    fresh = not vault.exists()
    if fresh:
        say(f"This makes your vault, {vault.path}. Its master password is stored nowhere: remember it.")
    password = vault.new_password() if fresh else vault.password()
    there: Contents = {} if fresh else read(vault.path, password)
    changes: Contents = {}
    while True:
        section = fields.section_of(broker, profile)
        say(f"\n{section} (Enter: leave as it is; Ctrl-C: change nothing)")
        for name, text in fields.ASKED[broker].items():
            held = " [set]" if name in there.get(section, {}) else ""
            value = vault.asking.ask(name, f"  {text}{held}", hidden=name in fields.HIDDEN)
            if value:
                fields.require_value(name, value)
                changes.setdefault(section, {})[name] = value
        more = vault.asking.ask(
            "more", f"\nanother? {', '.join(PLACES)}, or broker/profile (Enter: no)", hidden=False
        )
        if not more:
            break
        broker, _, profile = more.partition("/")
        profile = profile or "default"
        fields.section_of(broker, profile)
    if not changes:
        say("nothing was changed")
        return
    done(vault, changes, password, fresh=fresh)
    say("next: kite-hft login brings today's access token")


def done(vault: Vault, changes: Contents, password: bytes, *, fresh: bool) -> None:
    """Write, and say what was written, by name."""
    contents = vault.put(changes, password, fresh=fresh)
    for section, values in changes.items():
        say(f"{section}: {', '.join(sorted(values))} {'is' if len(values) == 1 else 'are'} in {vault.path}")
    for line in fields.warnings(contents):
        warn(line)
