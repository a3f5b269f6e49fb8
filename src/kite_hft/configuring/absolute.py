"""Layer 0, supervisor, cold: relative paths of a configuration, meant from the folder of its file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

HISTORY: Final = "history"
"""Among `params:` of a strategy: the file with the days before."""
HISTORY_KEPT: Final = "metadata"
"""As its name: the file that `kite-hft metadata` keeps."""
FILE_KEYS: Final = ("calendar", "rules", "market", "charges", "indices")
"""Files that `trading:` names."""


def absolute_paths(settings: Any, folder: Path) -> dict[str, Any]:
    """The sections of a Settings that hold paths, with absolute ones."""
    trading, simulator, universe = settings.trading, settings.simulator, settings.datafeed.universe
    files = {name: folder / path for name in ("replay", "faults") if (path := getattr(simulator, name))}
    vault = settings.credentials.file
    return {
        "credentials": settings.credentials.model_copy(
            update={"file": None if vault is None else folder / _at_home(vault)}
        ),
        "strategies": [s.model_copy(update=_of_strategy(s, folder)) for s in settings.strategies],
        "trading": trading.model_copy(update={name: folder / getattr(trading, name) for name in FILE_KEYS}),
        "datafeed": settings.datafeed.model_copy(update={"universe": universe and folder / universe}),
        "risk": settings.risk.model_copy(update={"lists": folder / settings.risk.lists}),
        "simulator": simulator.model_copy(update=files),
    }


def _at_home(path: Path | str) -> Path:
    """With the home that ~ stands for; of a user that there is none of: as it stands."""
    return Path(os.path.expanduser(path))


def _of_strategy(section: Any, folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if section.path is not None:
        found["path"] = folder / _at_home(section.path)
    history = section.params.get(HISTORY)
    if isinstance(history, str) and history not in ("", HISTORY_KEPT):
        found["params"] = {**section.params, HISTORY: str(folder / _at_home(history))}
    return found
