"""Layer 0, supervisor, cold: variables of the environment, and a file .env, as a source of the configuration.

`KITE_<KEY>` sets a key without section (KITE_ACCOUNT), `KITE_<SECTION>__<KEY>` any other
(KITE_RISK__MAX_POSITIONS=5); values are written as in the file. Some names are older than this rule
(`NAMED`). Errors name the variable and never show the value of a secret.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kite_hft.configuring.keys import is_secret, keys_of
from kite_hft.configuring.layers import IN_DOTENV, Key, Layer, Origin

PREFIX: Final = "KITE_"
NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "KITE_API_KEY": ("kite", "api_key"),
    "KITE_ACCESS_TOKEN": ("kite", "access_token"),
    "ZERODHA_API_KEY": ("kite", "api_key"),
    "ZERODHA_ACCESS_TOKEN": ("kite", "access_token"),
    "UPSTOX_API_KEY": ("upstox", "api_key"),
    "UPSTOX_ACCESS_TOKEN": ("upstox", "access_token"),
    "UPSTOX_SANDBOX_TOKEN": ("upstox", "sandbox_token"),
    "KITE_TELEGRAM_TOKEN": ("alerts", "telegram_bot_token"),
    "KITE_TELEGRAM_CHAT_ID": ("alerts", "telegram_chat_id"),
    "KITE_LOG_LEVEL": ("logging", "level"),
    "KITE_DEBUG": ("debug", "enabled"),
}
"""Names that stand for a key."""

_LOGIN: Final = "a run does not need it: `kite-hft credentials` keeps it in the vault, for `kite-hft login`"
_SCRIPTS: Final = (
    "a name that any program may use is not taken: `kite-hft credentials --import .env` puts it into the "
    "vault, or call it {}"
)
ELSEWHERE: Final[Mapping[str, str]] = {
    "KITE_API_SECRET": _LOGIN,
    "ZERODHA_API_SECRET": _LOGIN,
    "UPSTOX_API_SECRET": _LOGIN,
    "KITE_USER_ID": _LOGIN,
    "KITE_TOTP_SECRET": _LOGIN,
    "KITE_PASSWORD": "nothing needs it: you type it at the broker's own page (`kite-hft login`)",
    "LIVE_ACCESS_TOKEN": _SCRIPTS.format("UPSTOX_ACCESS_TOKEN"),
    "SANDBOX_ACCESS_TOKEN": _SCRIPTS.format("UPSTOX_SANDBOX_TOKEN"),
}
"""Names that are accepted and set no key, and what does their work."""

OWN: Final = ("KITE_ENVIRONMENT", "KITE_CONFIG_PATH", "KITE_MASTER_PASSWORD")
"""Read where the file is chosen and where the vault is opened."""
OURS: Final = "KITE_HFT_"
"""Names of the program that set no key of the configuration begin so."""
VAULT: Final = "KITE_HFT_VAULT"
"""The one of them that a person sets."""
KEY_WORDS: Final = ("api_key", "access_token", "sandbox_token")
"""Not taken in mode sim, whose simulators give keys of their own."""
_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*$")


class VariableError(ValueError):
    """A variable that cannot be used; the message names it, the cause and the fix."""


def dotenv(text: str, name: str) -> dict[str, str]:
    """The variables of a file .env: NAME=value lines, # comments, values bare or in quotes.

    Raises:
        VariableError: a line is none of these; its number, never its text.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.match(line)
        if match is None:
            raise VariableError(f"{name}, line {number}: expected NAME=value")
        value = match[2]
        if value[:1] in ("'", '"'):
            end = value.find(value[0], 1)
            rest = value[end + 1 :].strip()
            if end < 0 or (rest and not rest.startswith("#")):
                raise VariableError(f"{name}, line {number}: the quote is not closed at the end")
            found[match[1]] = value[1:end]
        else:
            found[match[1]] = re.split(r"\s+#", value)[0]
    return found


def names_of(model: type[BaseModel]) -> dict[str, tuple[Key, FieldInfo]]:
    """Name of a variable -> the key that it sets."""
    fields = dict(keys_of(model))
    found: dict[str, tuple[Key, FieldInfo]] = {
        PREFIX + "__".join(path).upper(): (path, field) for path, field in fields.items()
    }
    return found | {name: (path, fields[path]) for name, path in NAMED.items()}


def variables_layer(
    environ: Mapping[str, str],
    model: type[BaseModel],
    parse: Callable[[str], Any],
    from_file: Collection[str] = (),
) -> tuple[Layer, list[str]]:
    """What the variables set, and what is to be said of the others. parse: a value as in the file.
    from_file: names of those that stand in .env.

    Raises:
        VariableError: KITE_<SECTION>__<KEY> of no key, a value that is no YAML, one key set twice, mode live.
    """
    known, said = names_of(model), []
    data: dict[str, Any] = {}
    origins: dict[Key, Origin] = {}
    for name, raw in sorted(environ.items()):
        if raw == "":
            continue
        if name in ELSEWHERE:
            said.append(f"variable {name}: {ELSEWHERE[name]}")
        elif name in from_file and name != "KITE_ENVIRONMENT" and (name in OWN or name.startswith(OURS)):
            said.append(f"{name} stands in .env and is not taken from there: export it where you start")
        elif name in known:
            path, field = known[name]
            value = _value(name, raw, path, field, parse)
            if path == ("mode",) and value == "live":
                raise VariableError(f"variable {name}: mode live is set in a configuration file only")
            _set(name + IN_DOTENV * (name in from_file), path, value, data, origins)
        elif name.startswith(OURS):
            if name != VAULT and difflib.get_close_matches(name, [VAULT], cutoff=0.8):
                said.append(f"variable {name} does nothing; did you mean {VAULT}?")
        elif name.startswith(PREFIX) and name not in OWN:
            said += _unknown(name, known)
    return Layer("variables", data, origins), said


def _set(name: str, path: Key, value: Any, data: dict[str, Any], origins: dict[Key, Origin]) -> None:
    section: Any = data
    for part in path[:-1]:
        section = section.setdefault(part, {})
    if path in origins and section[path[-1]] != value:
        words = ".".join(map(str, path))
        raise VariableError(f"variables {origins[path].source} and {name} set {words} differently: unset one")
    section[path[-1]] = value
    origins[path] = Origin(name)


def _value(name: str, raw: str, path: Key, field: FieldInfo, parse: Callable[[str], Any]) -> Any:
    """Text where the key takes text, else as in the file."""
    takes = _flat(field.annotation)
    if raw in takes or (str in takes and raw not in ("null", "~")) or any(t is Path for t in takes):
        return raw
    try:
        return parse(raw)
    except ValueError:
        found = "" if is_secret(path) else f" (found {raw!r})"
        raise VariableError(f"variable {name}: no value as in a YAML file{found}") from None


def _flat(annotation: Any) -> set[Any]:
    """The types and literals that an annotation takes, those inside lists and mappings left out."""
    arguments = get_args(annotation)
    if not arguments:
        return {annotation}
    if getattr(annotation, "__origin__", None) is Literal:
        return set(arguments)
    if getattr(annotation, "__origin__", None) in (list, dict):
        return set()
    return {
        found for argument in arguments for found in _flat(argument) if isinstance(found, type | str | int)
    }


def _unknown(name: str, known: Mapping[str, Any]) -> list[str]:
    """What is said of a name that sets nothing.

    Raises:
        VariableError: it is one of a key in a section: nobody else's.
    """
    near = difflib.get_close_matches(name, [*known, *ELSEWHERE, *OWN], n=1, cutoff=0.6)
    hint = f"; did you mean {near[0]}?" if near else ""
    if "__" in name:
        raise VariableError(
            f"variable {name}: it sets no key{hint or '; kite-hft config show lists the keys'}"
        )
    return [f"variable {name} sets no key of the configuration{hint}"]


def without_keys(layer: Layer) -> tuple[Layer, list[str]]:
    """The same without brokers' keys and tokens, and what is said of them."""
    data = {name: dict(value) if isinstance(value, dict) else value for name, value in layer.data.items()}
    origins, said = dict(layer.origins), []
    for path, origin in layer.origins.items():
        if path[0] in ("kite", "upstox") and path[-1] in KEY_WORDS:
            del data[str(path[0])][str(path[1])], origins[path]
            said.append(f"variable {origin.source}: not taken in mode sim, whose simulator gives keys itself")
    return Layer(layer.name, data, origins), said
