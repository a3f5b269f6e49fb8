"""Layer 5, orders process, cold: by which code each strategy of the run decides.

An exchange asks that an algorithm whose logic changes be registered anew, and who looks at an order years
later wants to know what made it. Each order's record names its strategy by number; the record that is made of
this stands before all of them. Files are read, never imported. What they import in turn is not looked at.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kite_hft.configuring.models.market import StrategySection

BUILT_IN = "built in"


def strategy_codes(sections: Sequence[StrategySection], numbers: Mapping[int, int]) -> dict[str, Any]:
    """What a COMMAND record says of them. numbers: strategy's number -> index of its section."""
    codes = {str(number): code_of(sections[index]) for number, index in sorted(numbers.items())}
    return {"do": "strategies", "by": "the configuration", "strategies": codes}


def code_of(section: StrategySection) -> dict[str, str]:
    """{"name", "file", "sha256"}. A built-in one has no file: the build in the journal's header stands for
    it. One whose file cannot be read says why.
    """
    told = {"name": section.name, "file": BUILT_IN, "sha256": ""}
    if section.path is None and ":" not in section.name:
        return told
    file = section.path or _file_of(section.name.rpartition(":")[0])
    if file is None:
        return told | {"file": "not found"}
    try:
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        return told | {"file": f"{file}: {error.strerror}"}
    return told | {"file": str(file.resolve()), "sha256": digest}


def _file_of(place: str) -> Path | None:
    """Of a file as it is named, or of a module as Python would find it."""
    if place.endswith(".py"):
        return Path(place)
    parts = place.split(".")
    for folder in sys.path:
        base = Path(folder or ".").joinpath(*parts)
        for file in (base / "__init__.py", base.with_name(f"{base.name}.py")):
            if file.is_file():
                return file
    return None
