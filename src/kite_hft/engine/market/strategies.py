"""Layer 5, supervisor and market process, cold: configured strategies, made with their parameters.

The supervisor makes each once before anything starts, only to see whether it can be made.
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
from typing import Any, Final

from kite_hft.configuring.absolute import HISTORY
from kite_hft.configuring.models.market import StrategySection
from kite_hft.settings import Settings
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.classic import ClassicKalman, ClassicKalmanMl, Voice
from kite_hft.strategies.compiled import CompiledStrategy, CompiledStrategyError
from kite_hft.strategies.registry import UnknownStrategy, class_of

_UNEXPECTED: Final = re.compile(r"^(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")
SPEAKING: Final = {"kalman_simple": ClassicKalman, "kalman_ml": ClassicKalmanMl}


class StrategyError(ValueError):
    """A configured strategy that cannot be made; the message names it and says why."""


def make_strategy(
    settings: Settings, section: StrategySection, voice: Voice | None = None
) -> BaseStrategy | CompiledStrategy:
    """The strategy of one section. voice: of a strategy that tells what it does; None: it is not to.

    Raises:
        StrategyError: unknown, or a parameter that it does not take.
    """
    params: dict[str, Any] = {name: value for name, value in section.params.items() if name != HISTORY}
    found: Any = None
    try:
        found = class_of(section)
        if voice is not None and settings.console.classic and section.name in SPEAKING:
            return SPEAKING[section.name](voice, **params)
        made: BaseStrategy | CompiledStrategy = found(**params)
        return made
    except UnknownStrategy as error:
        raise StrategyError(str(error)) from error
    except (TypeError, ValueError, KeyError, CompiledStrategyError) as error:
        words = f"parameters {params}" if params else "its defaults"
        said = _unknown_parameter(found, error) or str(error)
        raise StrategyError(f"strategy {section.name!r} cannot be made with {words}: {said}") from error


def _unknown_parameter(strategy: type, error: Exception) -> str:
    """In words, where Python says that a parameter is none; with the nearest that there is. "": it does not.

    Python names the function that refused it: of the strategy, or of what it keeps its parameters in.
    """
    match = _UNEXPECTED.search(str(error))
    if not isinstance(error, TypeError) or match is None:
        return ""
    holder = getattr(sys.modules[strategy.__module__], match[1], strategy)
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [name for name, row in inspect.signature(holder).parameters.items() if row.kind in plain]
    near = difflib.get_close_matches(match[2], known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
    return f"it has no parameter {match[2]!r}; {hint}"


def check_strategies(settings: Settings) -> None:
    """Make every configured strategy once.

    Raises:
        StrategyError: as make_strategy.
    """
    for section in settings.strategies:
        make_strategy(settings, section)
