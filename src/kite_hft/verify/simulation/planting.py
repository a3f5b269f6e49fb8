"""Layer 6, campaigns, cold: planting a bug into the running engine, and taking it out again."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from kite_hft.layout import Reason
from kite_hft.trading.gate import checks_form, risk


@dataclass(slots=True)
class Patches:
    """What was replaced, to be put back."""

    _old: list[tuple[Any, str, Any]] = field(default_factory=list)

    def set(self, owner: Any, name: str, value: Any) -> None:
        """Replace an attribute.

        Raises:
            AttributeError: there is none: the engine has changed, and the mutant has to follow.
        """
        old = getattr(owner, name)
        if isinstance(owner, type):
            old = vars(owner).get(name, old)  # a static method stays one
        self._old.append((owner, name, old))
        setattr(owner, name, value)

    def around(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace a method by one that knows the old one."""
        old = getattr(owner, name)
        self.set(owner, name, functools.wraps(old)(make(old)))

    def everywhere(self, old: Any, new: Any) -> None:
        """Replace a function in every module of the engine that has it by name.

        Raises:
            LookupError: none has it.
        """
        found = [
            (module, name)
            for key, module in list(sys.modules.items())
            if key.startswith("kite_hft.") and not key.startswith("kite_hft.verify")
            for name, value in list(vars(module).items())
            if value is old
        ]
        if not found:
            raise LookupError(f"{old!r} is in no module")
        for module, name in found:
            self.set(module, name, new)

    def undo(self) -> None:
        """Everything as it was, the newest first."""
        while self._old:
            setattr(*self._old.pop())


@dataclass(frozen=True, slots=True)
class Mutant:
    """name: for people and `--only`; sentence: what is broken; plant: breaks it."""

    name: str
    sentence: str
    plant: Callable[[Patches], None]


def gate_without(*reasons: Reason) -> Callable[[Patches], None]:
    """A gate whose checks of these reasons always pass."""

    def judge(intent: Any, context: Any, limits: Any, *, again: bool = False, plain: Any = None) -> Any:
        if not again:
            if text := checks_form.kind(intent, context, limits):
                return risk.Verdict(Reason.BAD_INTENT, text)
            context.reducing = risk.is_reducing(intent, context.book, context.target)
        for check, reason in risk._APPLYING[intent.kind, context.reducing, again]:
            if reason not in reasons and (text := check(intent, context, limits)):
                return risk.Verdict(reason, text)
        return None

    return lambda patches: patches.everywhere(risk.judge, judge)
