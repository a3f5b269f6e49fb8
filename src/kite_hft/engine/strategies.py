"""Layer 5, supervisor and market process, cold: configured strategies, made with their parameters.

The supervisor makes each once before anything starts, only to see whether it can be made.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kite_hft.settings import Settings, StrategySection
from kite_hft.strategies.base import BaseStrategy
from kite_hft.strategies.classic import ClassicKalman
from kite_hft.strategies.compiled import CompiledStrategy, CompiledStrategyError
from kite_hft.strategies.registry import UnknownStrategy, strategy_class


class StrategyError(ValueError):
    """A configured strategy that cannot be made; the message names it and says why."""


def make_strategy(
    settings: Settings, section: StrategySection, say: Callable[[str], None]
) -> BaseStrategy | CompiledStrategy:
    """The strategy of one section. `say` gets the lines of a strategy that tells what it does.

    Raises:
        StrategyError: unknown, or a parameter that it does not take.
    """
    params: dict[str, Any] = dict(section.params)
    try:
        found = strategy_class(section.name, section.form)
        if settings.console.classic and section.name == "kalman_simple":
            return ClassicKalman(say, **params)
        return found(**params)
    except UnknownStrategy as error:
        raise StrategyError(str(error)) from error
    except (TypeError, ValueError, KeyError, CompiledStrategyError) as error:
        words = f"parameters {params}" if params else "its defaults"
        raise StrategyError(f"strategy {section.name!r} cannot be made with {words}: {error}") from error


def check_strategies(settings: Settings) -> None:
    """Make every configured strategy once.

    Raises:
        StrategyError: as make_strategy.
    """
    for section in settings.strategies:
        make_strategy(settings, section, lambda line: None)
