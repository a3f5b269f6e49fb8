"""Layer 0, supervisor, cold: all keys of the configuration, from its models: names, types, defaults."""

from __future__ import annotations

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

Path = tuple[str, ...]

SECRETS = {
    "api_key", "api_secret", "access_token", "sandbox_token", "password", "totp_secret",
    "webhook", "telegram_bot_token", "heartbeat_url", "token",
}  # fmt: skip
"""Names of keys whose values are shown nowhere."""


def is_section(annotation: Any) -> bool:
    """Whether keys stand below."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def keys_of(model: type[BaseModel], at: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Every key that is no section, by its path. What stands in lists is not gone into."""
    for name, field in model.model_fields.items():
        if is_section(field.annotation):
            yield from keys_of(field.annotation, (*at, name))  # type: ignore[arg-type]
        else:
            yield (*at, name), field


def fillable(model: type[BaseModel], at: Path = ()) -> Iterator[Path]:
    """Sections and lists: with nothing behind their name in a file they are as if they were not there."""
    for name, field in model.model_fields.items():
        if is_section(field.annotation):
            yield (*at, name)
            yield from fillable(field.annotation, (*at, name))  # type: ignore[arg-type]
        elif get_origin(field.annotation) is list:
            yield (*at, name)


def known_keys(model: type[BaseModel], section: tuple[str | int, ...]) -> list[str]:
    """Names that a section takes; `section` is its path in the file."""
    found: Any = model
    for part in section:
        if isinstance(part, int):
            continue
        field = found.model_fields.get(part)
        if field is None:
            return []
        arguments = [a for a in getattr(field.annotation, "__args__", ()) if is_section(a)]
        found = field.annotation if is_section(field.annotation) else arguments[0] if arguments else None
        if found is None:
            return []
    return sorted(found.model_fields)


def is_secret(key: tuple[str | int, ...]) -> bool:
    """Whether the value under this key is shown nowhere."""
    return bool(SECRETS & set(key))


def words_of(annotation: Any) -> str:
    """A type in words that a trader reads."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return words_of(arguments[0])
    if origin is Literal:
        return ", ".join(str(a) for a in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(words_of(a) for a in arguments if a is not type(None)))
    if origin is list:
        return f"list of {words_of(arguments[0])}"
    if origin is dict:
        return f"{words_of(arguments[0])}: {words_of(arguments[1])}"
    if is_section(annotation):
        return "keys"
    names = {str: "text", float: "number", int: "whole number", bool: "true or false"}
    return names.get(annotation, annotation.__name__.lower() if isinstance(annotation, type) else "value")


def default_of(field: FieldInfo) -> Any:
    """The default of a key, as a plain value."""
    value = field.get_default(call_default_factory=True, validated_data={})
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)
