"""Layer 6, by hand, cold: the vault, opened for one broker and one profile; tokens in it and their ends."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.app.setup.options import USUAL
from kite_hft.engine.keys.contents import BROKERS, Contents, VaultError
from kite_hft.engine.keys.ends import until_ns, until_text
from kite_hft.engine.keys.password import find_password, hidden_prompt
from kite_hft.engine.keys.vault import default_path, read, status, update
from kite_hft.settings import Settings, load_settings
from kite_hft.units import NS_PER_S

TOKENS: Final[Mapping[str, str]] = {
    "access_token": "day's token",
    "sandbox_token": "sandbox token",
    "analytics_token": "analytics token",
}
"""Names in the vault -> in words."""


@dataclass(slots=True)
class Opened:
    """A vault whose password is known. `repr` shows no secret."""

    path: Path
    broker: str
    profile: str
    contents: Contents = field(repr=False)
    password: bytes = field(repr=False)

    @property
    def section(self) -> str:
        return f"{self.broker}/{self.profile}"

    @property
    def values(self) -> dict[str, str]:
        """What is held for the broker and the profile."""
        return self.contents.get(self.section, {})

    def needed(self, name: str) -> str:
        """A value that must be there.

        Raises:
            VaultError: it is not; the message says how it gets there.
        """
        if value := self.values.get(name):
            return value
        raise VaultError(
            f"{self.section} has no {name} in the vault: kite-hft credentials --broker {self.broker} "
            f"--profile {self.profile} --set {name}"
        )

    def keep(self, given: Mapping[str, str], dropped: tuple[str, ...] = ()) -> None:
        """Write values into the vault as one step, and take some out.

        Raises:
            VaultError: the vault stays as it was.
        """

        def change(contents: Contents) -> None:
            values = contents.setdefault(self.section, {})
            values.update({name: value for name, value in given.items() if value})
            for name in dropped:
                values.pop(name, None)

        self.contents = update(self.path, self.password, change)


def settings_of(config: Path | None) -> Settings:
    """The configuration that was named, else config/config.yaml where there is one, else the defaults.

    Raises:
        SettingsError: it cannot be used.
    """
    if config is None and USUAL.is_file():
        config = USUAL
    return load_settings(config) if config is not None else Settings()


def open_vault(
    settings: Settings,
    broker: str | None,
    profile: str | None,
    *,
    file: Path | None = None,
    password_fd: int | None = None,
) -> Opened:
    """The vault of the configuration, for a broker: the named one, else the only one in it, else the run's.

    Raises:
        VaultError: it cannot be opened. VaultMissing: there is none.
    """
    path = file or settings.credentials.file or default_path(os.environ)
    status(path)  # before anybody is asked for a password
    prompt = hidden_prompt("master password (not shown): ")
    password = find_password(fd=password_fd, prompt=prompt, environ=os.environ)
    contents = read(path, password)
    profile = profile or settings.credentials.profile
    held = [name for name in BROKERS if f"{name}/{profile}" in contents]
    chosen = broker or (held[0] if len(held) == 1 else settings.broker)
    return Opened(path, chosen, profile, contents, password)


def token_rows(contents: Contents, now_real_ns: int) -> list[dict[str, Any]]:
    """All tokens of a vault, one row each: broker, profile, token, user_id, until, good.

    Upstox's analytics token counts as good for reading alone: `orders` is False, as with the sandbox's.
    """
    rows = []
    for section, values in sorted(contents.items()):
        broker, _, profile = section.partition("/")
        for name, words in TOKENS.items():
            if name not in values:
                continue
            end_ns = until_ns(values, name)
            rows.append(
                {
                    "broker": broker,
                    "profile": profile,
                    "token": name,
                    "words": words,
                    "user_id": values.get("user_id"),
                    "until": None if end_ns is None else until_text(end_ns),
                    "good": end_ns is not None and end_ns > now_real_ns,
                    "orders": name == "access_token",
                    "left_s": None if end_ns is None else max(0, (end_ns - now_real_ns) // NS_PER_S),
                }
            )
    return rows
