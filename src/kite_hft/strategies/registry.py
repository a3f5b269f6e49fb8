"""Layer 2, compute, cold: a strategy's name in the configuration -> its class.

Built in: kalman_simple, and probe (form B only), which measures. A user's own:
`package.module:Class` or `path/to/file.py:Class`.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy

BUILT_IN: Final = {
    ("kalman_simple", "A"): "kite_hft.strategies.kalman_simple:KalmanSimple",
    ("kalman_simple", "B"): "kite_hft.strategies.kalman_simple:KalmanSimpleCompiled",
    ("probe", "B"): "kite_hft.strategies.probe:ProbeCompiled",
}


class UnknownStrategy(ValueError):
    """No strategy of that name and form; the message names what there is."""


def strategy_class(name: str, form: str) -> type[BaseStrategy] | type[CompiledStrategy]:
    """The class of strategy `name` in form "A" (BaseStrategy) or "B" (CompiledStrategy).

    Raises:
        UnknownStrategy: no such strategy, file or class, or the class is of the other form.
    """
    target = BUILT_IN.get((name, form), name)
    place, colon, attribute = target.rpartition(":")
    if not colon:
        known = sorted({built_in for built_in, _ in BUILT_IN})
        raise UnknownStrategy(
            f"no strategy {name!r} in form {form}; built in: {', '.join(known)}; "
            "your own: package.module:Class or path/to/file.py:Class"
        )
    module = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    found = getattr(module, attribute, None)
    wanted: type[BaseStrategy] | type[CompiledStrategy] = BaseStrategy if form == "A" else CompiledStrategy
    if not isinstance(found, type) or not issubclass(found, wanted):
        raise UnknownStrategy(f"{target} is no {wanted.__name__} (form {form})")
    return found


def _from_package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise UnknownStrategy(f"strategy module {name!r} cannot be imported: {error}") from error


def _from_file(path: Path) -> ModuleType:
    """The module under a name that is the same in every process: cached machine code refers to it."""
    if not path.is_file():
        raise UnknownStrategy(f"strategy file {path} does not exist")
    name = f"khft_user_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UnknownStrategy(f"strategy file {path} cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
