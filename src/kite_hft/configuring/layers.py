"""Layer 0, supervisor, cold: sources of a configuration, one over the other, and where each value is from.

Later ones count: defaults, profile, file, overlay of the environment, variables. Sections are joined key by
key; a list is taken whole from the last source that has it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Key = tuple[str | int, ...]
IN_DOTENV = " in .env"
"""Behind the name of a variable that stands there."""


class LayerError(ValueError):
    """Two names of one key in one source; the message says which and where."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value is from. source: a file's path, a variable's name, or `profile speed`. line: in a file.
    name: the key as it stands there, when it has another name here."""

    source: str
    line: int | None = None
    name: str = ""

    def __str__(self) -> str:
        at = f"{self.source}:{self.line}" if self.line else self.source
        return f"{at} ({self.name})" if self.name else at

    @property
    def is_variable(self) -> bool:
        """Not from a file, not from a profile."""
        return self.line is None and " " not in self.source.removesuffix(IN_DOTENV)

    def head(self) -> str:
        """As an error begins."""
        return f"{self.source}, line {self.line}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Layer:
    """One source. data: nested keys and values; origins: of every key, section and item of a list in it."""

    name: str
    data: dict[str, Any]
    origins: dict[Key, Origin] = field(default_factory=dict)


def file_layer(path: str, data: Mapping[str, Any], lines: Mapping[Key, int]) -> Layer:
    """A file's keys. lines: of every key and item."""
    return Layer(path, dict(data), {key: Origin(path, line) for key, line in lines.items()})


def profile_layer(profile: str, data: Mapping[str, Any]) -> Layer:
    """What a profile sets."""
    name = f"profile {profile}"
    found: dict[Key, Origin] = {}

    def walk(rows: Mapping[str, Any], at: Key) -> None:
        for key, value in rows.items():
            found[*at, key] = Origin(name)
            if isinstance(value, Mapping):
                walk(value, (*at, key))

    walk(data, ())
    return Layer(name, dict(data), found)


def renamed(layer: Layer, aliases: Mapping[Key, Key]) -> Layer:
    """The same under the names that the models use. aliases: other name -> name.

    Raises:
        LayerError: both names of one key are there.
    """
    data, origins = _copied(layer.data), dict(layer.origins)
    for other, key in aliases.items():
        section, name, new = _section(data, other[:-1]), str(other[-1]), str(key[-1])
        if section is None or section.get(name) in (None, ""):
            continue
        origin = origins.pop(other, Origin(layer.name))
        target = _made(data, key[:-1])
        if target is None:
            continue  # no section: refused where it is read
        if new in target:
            words = ".".join(map(str, other)), ".".join(map(str, key))
            raise LayerError(f"{origin.head()}: {words[0]} is another name of {words[1]}: keep one of them")
        target[new] = section.pop(name)
        origins[key] = Origin(origin.source, origin.line, ".".join(map(str, other)))
    return Layer(layer.name, data, origins)


def without_empty(layer: Layer, names: Iterable[Key]) -> Layer:
    """The same without sections and lists (`names`) that have nothing behind them: all that stood there has
    been taken out or made a comment."""
    data, origins = _copied(layer.data), dict(layer.origins)
    for key in names:
        section = _section(data, key[:-1])
        if section is not None and key[-1] in section and section[key[-1]] is None:
            del section[key[-1]]
            origins.pop(key, None)
    return Layer(layer.name, data, origins)


def merged(layers: Sequence[Layer]) -> Layer:
    """All of them, the last one counts."""
    data: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for layer in layers:
        replaced = set(_put_over(data, layer.data, ()))
        origins = {key: origin for key, origin in origins.items() if not _is_under(key, replaced)}
        origins.update((key, origin) for key, origin in layer.origins.items() if _is_under(key, replaced))
    return Layer("all", data, origins)


def _put_over(target: dict[str, Any], rows: Mapping[str, Any], at: Key) -> Iterator[Key]:
    """Put `rows` over what is there, section by section; the keys that have a new value."""
    for name, value in rows.items():
        if isinstance(value, Mapping) and isinstance(target.get(name), dict):
            yield from _put_over(target[name], value, (*at, name))
            continue
        target[name] = _copied(value) if isinstance(value, Mapping) else value
        yield (*at, name)


def _is_under(key: Key, tops: Container[Key]) -> bool:
    return any(key[:n] in tops for n in range(1, len(key) + 1))


def origin_of(origins: Mapping[Key, Origin], key: Key) -> Origin | None:
    """Of a key, or of the nearest section or list above it."""
    return next((origins[key[:n]] for n in range(len(key), 0, -1) if key[:n] in origins), None)


def value_at(data: Mapping[str, Any], key: Key) -> Any:
    """The value under a key, None where there is none."""
    found: Any = data
    for part in key:
        found = found.get(str(part)) if isinstance(found, Mapping) else None
    return found


def _copied(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: _copied(v) if isinstance(v, Mapping) else v for k, v in data.items()}


def _section(data: dict[str, Any], path: Key) -> dict[str, Any] | None:
    found: Any = data
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None


def _made(data: dict[str, Any], path: Key) -> dict[str, Any] | None:
    """The section under `path`, made where it is not there."""
    found: dict[Any, Any] = data
    for name in path:
        if found.get(name) is None:
            found[name] = {}
        below = found[name]
        if not isinstance(below, dict):
            return None
        found = below
    return found
