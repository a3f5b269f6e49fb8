"""Layer 6, a user's program, cold: `from kite_hft import config`: the configuration file, read when it is
asked.

    from kite_hft import config

    config.kite.api_key
    config.datafeed.mode

The file is $KITE_CONFIG_PATH, or config/config.yaml in the current folder. Its values are checked as the
engine checks them, and cannot be changed: a DataFeedService has a `config` of its own that can.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from kite_hft.settings import Settings, SettingsError, load_settings

VARIABLE: Final = "KITE_CONFIG_PATH"
DEFAULT: Final = Path("config/config.yaml")


def find_config(environ: Mapping[str, str]) -> Path | None:
    """The configuration file of this program; None: there is none.

    Raises:
        SettingsError: $KITE_CONFIG_PATH names no file.
    """
    named = environ.get(VARIABLE, "")
    if named:
        path = Path(os.path.expanduser(named))
        if not path.is_file():
            raise SettingsError(f"${VARIABLE} names {path}, and there is no such file: correct or unset it")
        return path
    return DEFAULT if DEFAULT.is_file() else None


class Config:
    """The settings of the configuration file, loaded when the first one is asked for.

    Asking for a section may raise SettingsError: no file, an unknown key, a value that does not fit; the
    message names file, line, cause and fix.
    """

    __slots__ = ("_loaded", "_path")

    def __init__(self) -> None:
        self._loaded: Settings | None = None
        self._path: Path | None = None

    @property
    def settings(self) -> Settings:
        """All of it, as the engine has it.

        Raises:
            SettingsError: see the class.
        """
        if self._loaded is None:
            path = find_config(os.environ)
            if path is None:
                raise SettingsError(
                    f"no configuration: there is no {DEFAULT} in {Path.cwd()}, and ${VARIABLE} is not set; "
                    "make one with `cp config/config.yaml.example config/config.yaml`"
                )
            self._loaded, self._path = load_settings(path), path.resolve()
        return self._loaded

    @property
    def path(self) -> Path:
        """The file that was loaded."""
        assert self.settings and self._path
        return self._path

    def reload(self) -> None:
        """Read the file anew when the next value is asked for."""
        self._loaded = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        settings = self.settings
        if name not in type(settings).model_fields:
            known = ", ".join(type(settings).model_fields)
            raise AttributeError(f"the configuration has no section {name!r}; it has {known}")
        return getattr(settings, name)

    def __repr__(self) -> str:
        return f"<configuration {self._path if self._loaded else 'not read yet'}>"


config: Final = Config()
