"""Layer 2, compute, cold: a strategy's name in the configuration -> its class.

Built in: kalman_simple, kalman_ml, and probe (form B only), which measures. A user's own:
`package.module:Class`, `path/to/file.py:Class`, or a file with one class (`path:` in the configuration).
"""

from __future__ import annotations

import difflib
import hashlib
import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

from kite_hft.configuring.models.market import StrategySection
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.compiled import CompiledStrategy

BUILT_IN: Final = {
    ("kalman_simple", "A"): "kite_hft.strategies.kalman_simple:KalmanSimple",
    ("kalman_simple", "B"): "kite_hft.strategies.kalman_simple:KalmanSimpleCompiled",
    ("kalman_ml", "A"): "kite_hft.strategies.kalman_ml:KalmanMl",
    ("kalman_ml", "B"): "kite_hft.strategies.kalman_ml_compiled:KalmanMlCompiled",
    ("probe", "B"): "kite_hft.strategies.probe:ProbeCompiled",
}


class UnknownStrategy(ValueError):
    """No strategy of that name and form; the message names what there is."""


StrategyClass = type[BaseStrategy] | type[CompiledStrategy]


def class_of(section: StrategySection) -> StrategyClass:
    """The class of a section `strategies` of the configuration.

    Raises:
        UnknownStrategy: as `strategy_class` and `class_in_file`.
    """
    if section.path is None:
        return strategy_class(section.name, section.form)
    return class_in_file(section.path, section.name, section.form)


def class_in_file(path: Path, name: str, form: str) -> StrategyClass:
    """The class `name` of a file, or the only strategy of that form that it defines.

    Raises:
        UnknownStrategy: no such file, none of that form, or several and none is called `name`.
    """
    module = _from_file(path)
    wanted = _base_of(form)
    own = {
        word: found
        for word, found in vars(module).items()
        if isinstance(found, type) and issubclass(found, wanted) and found.__module__ == module.__name__
    }
    if name in own:
        return own[name]
    if len(own) == 1:
        return next(iter(own.values()))
    if own:
        raise UnknownStrategy(f"{path} has several strategies: {', '.join(own)}; say which by `name`")
    raise UnknownStrategy(
        f"{path} defines no {wanted.__name__} (form {form}); form A derives from BaseStrategy, "
        "B from CompiledStrategy"
    )


def _base_of(form: str) -> StrategyClass:
    return BaseStrategy if form == "A" else CompiledStrategy


def strategy_class(name: str, form: str) -> StrategyClass:
    """The class of strategy `name` in form "A" (BaseStrategy) or "B" (CompiledStrategy).

    Raises:
        UnknownStrategy: no such strategy, file or class, or the class is of the other form.
    """
    target = BUILT_IN.get((name, form), name)
    place, colon, attribute = target.rpartition(":")
    if not colon:
        known = sorted({built_in for built_in, _ in BUILT_IN})
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
        forms = " and ".join(sorted(other for built_in, other in BUILT_IN if built_in == name))
        hint = f"it is there in form {forms}; " if forms else f"did you mean {near[0]!r}? " if near else ""
        raise UnknownStrategy(
            f"no strategy {name!r} in form {form}; {hint}built in: {', '.join(known)}; "
            "your own: package.module:Class or path/to/file.py:Class"
        )
    module = _from_file(Path(place)) if place.endswith(".py") else _from_package(place)
    found = getattr(module, attribute, None)
    wanted = _base_of(form)
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
    except BaseException as error:
        del sys.modules[name]
        if isinstance(error, Exception):
            raise UnknownStrategy(
                f"strategy file {path} cannot be loaded: {type(error).__name__}: {error}"
            ) from error
        raise
    return module
