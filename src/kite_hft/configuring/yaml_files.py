"""Layer 0, supervisor, cold: YAML files that a person writes: what they say, and on which line.

YAML 1.1 reads some words otherwise than they look, an alias may stand for gigabytes, a tag for a program: all
of it is refused in a line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml._yaml import CParser
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from kite_hft.configuring.nodes import values_of

FILE_BYTES_MAX, VALUES_MAX = 4 << 20, 500_000
"""Of a YAML file: its length, and its values once every alias is what it stands for."""
OCTAL = re.compile(r"[-+]?0[0-9_]+")
PROJECT = Path(__file__).resolve().parents[3]
"""Where config/ lies with the rules that come with the program."""


class SettingsError(ValueError):
    """A configuration that cannot be used; the message names file, line, cause and fix."""


def load_yaml(path: Path) -> Any:
    """The parsed YAML of a file (rules, calendars).

    Raises:
        SettingsError: missing, unreadable, or no YAML; names file and line.
    """
    return read_yaml(path)[0]


def read_yaml(path: Path) -> tuple[Any, yaml.Node | None]:
    """What a file says, and where. An alias is taken where what it stands for has an end."""
    try:
        if path.exists() and not path.is_file():
            kind = "a folder" if path.is_dir() else "no plain file"
            raise SettingsError(f"{path}: {kind}, so it cannot be read; name the file itself")
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
        if len(raw) > FILE_BYTES_MAX:
            raise SettingsError(f"{path}: longer than {FILE_BYTES_MAX >> 20} MiB: this is no such file")
        loader = _Loader(raw.decode("utf-8-sig"))
        node = loader.get_single_node()
        if node is not None and values_of(node, VALUES_MAX) > VALUES_MAX:
            raise SettingsError(f"{path}: its aliases (*name) stand for more than {VALUES_MAX:,} values")
        return None if node is None else loader.construct_document(node), node
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such file; {_where_instead(path)}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(
            f"{path}: no UTF-8 text (byte {error.start + 1} is 0x{raw[error.start]:02x}): save it "
            "as UTF-8 in your editor"
        ) from None
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except RecursionError:
        raise SettingsError(f"{path}: nested too deeply") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SettingsError(f"{path}{line}: {getattr(error, 'problem', None) or error}") from None


def _where_instead(path: Path) -> str:
    """How to name a file that is not there. The project's own rules and calendar are a frequent case."""
    own = PROJECT / "config" / path.parent.name / path.name
    if own.is_file():
        return f"it is {own}: name that, or let `kite-hft config init` write the configuration"
    return "relative paths count from the folder of the file that names them"


class _Loader(Composer, CParser, SafeConstructor, Resolver):
    """Refuses what YAML 1.1 reads otherwise than it looks, with its line.

    libyaml takes the text apart: every process of a run reads rules while it starts. It is put together in
    Python, for libyaml's own way ends the process where something is nested too deeply.
    """

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        Composer.__init__(self)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        problem = "it begins with 0, which YAML takes for base 8; write it without, or in quotes"
        if not (node.tag.endswith(":int") and OCTAL.fullmatch(str(node.value))):
            try:
                return super().construct_object(node, deep)
            except ValueError as error:  # 2026-02-30
                problem = f"{node.value}: {error}"
            except (AttributeError, LookupError, TypeError):  # !!int of nothing, !!bool of another word
                problem = f"what stands here is no {node.tag.rpartition(':')[2]}: leave the !! away"
        raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)


def yaml_value(text: str) -> Any:
    """A value as it would stand in the file.

    Raises:
        ValueError: no YAML.
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from None
