"""Layer 6, a user's program, cold: settings that a program may change: `feed.config.datafeed.store_ticks =
True`.

Each change is checked by the rules of the configuration file. While the engine runs only what `LIVE` names
can be changed; the rest is read at the start.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from pydantic import BaseModel, ValidationError

from kite_hft.settings import Settings, SettingsError

LIVE: Final = frozenset({("datafeed", "store_ticks"), ("datafeed", "tick_storage_format")})

Key = tuple[str, ...]


class Changeable:
    """The settings, and one section or value of them as an attribute. Assignments are checked.

    settings: all of them, as they are now. changed: called with a key and the settings that a change makes;
    what it raises keeps the old ones. running: whether the engine has read them already.
    """

    __slots__ = ("_changed", "_running", "settings")

    settings: Settings

    def __init__(
        self,
        settings: Settings,
        running: Callable[[], bool] = lambda: False,
        changed: Callable[[Key, Settings], None] = lambda key, settings: None,
    ) -> None:
        for name, value in (("settings", settings), ("_running", running), ("_changed", changed)):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        return _under(self, (name,))

    def __setattr__(self, name: str, value: Any) -> None:
        self.change((name,), value)

    def change(self, key: Key, value: Any) -> None:
        """Set one value.

        Raises:
            SettingsError: no such key, a value that does not fit, or the engine runs and has read it already.
        """
        _value(self.settings, key)
        if self._running() and key not in LIVE:
            now = ", ".join(".".join(one) for one in sorted(LIVE))
            raise SettingsError(
                f"{'.'.join(key)} is read when the engine starts: stop(), change it, start(). While it runs "
                f"these can be changed: {now}"
            )
        data = self.settings.model_dump()
        at = data
        for part in key[:-1]:
            at = at[part]
        at[key[-1]] = value
        try:
            settings = Settings.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            raise SettingsError(f"{'.'.join(key)}: {first['msg'].removeprefix('Value error, ')}") from None
        self._changed(key, settings)
        object.__setattr__(self, "settings", settings)


class Part:
    """A section of Changeable settings."""

    __slots__ = ("_key", "_whole")

    def __init__(self, whole: Changeable, key: Key) -> None:
        object.__setattr__(self, "_whole", whole)
        object.__setattr__(self, "_key", key)

    def __getattr__(self, name: str) -> Any:
        return _under(self._whole, (*self._key, name))

    def __setattr__(self, name: str, value: Any) -> None:
        self._whole.change((*self._key, name), value)

    def __repr__(self) -> str:
        return repr(_value(self._whole.settings, self._key))


def _under(whole: Changeable, key: Key) -> Any:
    """A section as a Part, a value as it is."""
    if key[-1].startswith("_"):
        raise AttributeError(key[-1])
    try:
        found = _value(whole.settings, key)
    except SettingsError as error:
        raise AttributeError(str(error)) from None
    return Part(whole, key) if isinstance(found, BaseModel) else found


def _value(settings: Settings, key: Key) -> Any:
    """What stands under a key.

    Raises:
        SettingsError: there is no such key.
    """
    found: Any = settings
    for at, part in enumerate(key):
        known = type(found).model_fields if isinstance(found, BaseModel) else ()
        if part not in known:
            place = ".".join(key[:at]) or "the configuration"
            raise SettingsError(f"{place} has no key {part!r}; it has {', '.join(known)}")
        found = getattr(found, part)
    return found
