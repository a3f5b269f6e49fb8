"""Layer 6, campaigns, cold: mutants of what lasts: exits that are kept, triggers, groups, slices."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from kite_hft.layout import IntentKind, Side
from kite_hft.memory.journal import Kind
from kite_hft.trading.broker import Ambiguous
from kite_hft.trading.exits import groups, trigger
from kite_hft.trading.exits.at_broker import AtBroker
from kite_hft.trading.exits.fitting import Fitter
from kite_hft.trading.exits.stewards import Hands
from kite_hft.trading.exits.triggers import Triggers
from kite_hft.trading.exits.unwinding import Unwinder
from kite_hft.trading.recovery import replay
from kite_hft.trading.sending import intake
from kite_hft.trading.sending.asides import Aside
from kite_hft.trading.slices import slices
from kite_hft.verify.simulation.planting import Mutant, Patches


def _without(kind: Kind) -> Any:
    def plant(p: Patches) -> None:
        p.set(replay, "_HANDLERS", {k: h for k, h in replay._HANDLERS.items() if k is not kind})

    return plant


def _not_placed(p: Patches) -> None:
    p.set(Fitter, "_place", lambda self, plan, terms, quantity, now_ns: 0)


def _half_covered(p: Patches) -> None:
    def make(old: Any) -> Any:
        def fit(self: Fitter, plan: Any, guards: Any, want: int, now_ns: int) -> int:
            return int(old(self, plan, guards, want // 2, now_ns))

        return fit

    p.around(Fitter, "fit", make)


def _stay_when_dropped(p: Patches) -> None:
    p.set(Hands, "cancel", lambda self, order, now_ns: None)


def _beside_a_trigger(p: Patches) -> None:
    p.set(AtBroker, "stands", lambda self, plan: False)
    p.set(AtBroker, "sought", lambda self, plan: True)


def _without_a_record(p: Patches) -> None:
    def make(old: Any) -> Any:
        def journal(self: Triggers, trigger: Any, **more: Any) -> bool:
            return more.get("do") == "place" or bool(old(self, trigger, **more))

        return journal

    p.around(Triggers, "_journal", make)


def _sent_again(p: Patches) -> None:
    def make(old: Any) -> Any:
        def take(self: Triggers, trigger: Any, what: str, outcome: Any, now_ns: int) -> None:
            old(self, trigger, what, outcome, now_ns)
            if what == "place" and isinstance(outcome, Ambiguous):
                request = self._request(trigger, trigger.legs)
                if request is not None:
                    call = self._ports.broker.trigger_place(request)
                    aside = Aside("GTT", call, self._answered(trigger, "place"))
                    trigger.busy = self._asides.offer(aside, now_ns)

        return take

    p.around(Triggers, "_take", make)


def _absent_early(p: Patches) -> None:
    p.set(trigger, "MISSES", 1)

    def make(old: Any) -> Any:
        def __init__(self: Triggers, *more: Any) -> None:
            old(self, *more)
            self._horizon_ns = 0

        return __init__

    p.around(Triggers, "__init__", make)


def _trigger_outlives_its_plan(p: Patches) -> None:
    p.set(AtBroker, "drop", lambda self, plan, now_ns: None)
    p.set(AtBroker, "older", lambda self, plan: False)


def _cancel_of_trigger_forgotten(p: Patches) -> None:
    def make(old: Any) -> Any:
        def change(self: AtBroker, intent: Any, now_ns: int) -> bool:
            trigger = self._triggers.standing.get((intent.strategy, intent.target_seq))
            if trigger is not None and not trigger.for_exits and intent.kind == IntentKind.CANCEL:
                return True
            return bool(old(self, intent, now_ns))

        return change

    p.around(AtBroker, "change", make)


def _with_config(owner: type, **words: Any) -> Any:
    """A steward that was set otherwise than the day says."""

    def plant(p: Patches) -> None:
        def make(old: Any) -> Any:
            def __init__(self: Any, ports: Any, config: Any, *more: Any) -> None:
                old(self, ports, replace(config, **words), *more)

            return __init__

        p.around(owner, "__init__", make)

    return plant


class _Swapped:
    """Side, with its two words exchanged."""

    BUY, SELL = Side.SELL, Side.BUY

    def __new__(cls, value: int) -> Any:
        return Side(value)


def _sales_first(p: Patches) -> None:
    p.set(groups, "Side", _Swapped)


def _legs_missing(p: Patches) -> None:
    def make(old: Any) -> Any:
        return lambda self, intent, now_ns: old(self, intent._replace(legs=max(2, intent.legs - 1)), now_ns)

    p.around(groups.Groups, "take", make)


def _legs_of_one_deadline(p: Patches) -> None:
    p.set(groups, "_one_by_one", lambda legs: legs)


def _one_slice_more(p: Patches) -> None:
    p.set(intake, "slices", lambda quantity, freeze, lot: [*slices(quantity, freeze, lot), lot])


def _one_slice_less(p: Patches) -> None:
    p.set(intake, "slices", lambda quantity, freeze, lot: slices(quantity, freeze, lot)[:-1])


def _not_sliced(p: Patches) -> None:
    p.set(intake, "slices", lambda quantity, freeze, lot: [quantity])


LASTING: Final = (
    Mutant("exits_not_placed", "no order is placed for exits that were asked for", _not_placed),
    Mutant("exits_of_a_half", "exits cover one half of the position", _half_covered),
    Mutant("dropped_exits_stay", "orders of exits that are over stay at the exchange", _stay_when_dropped),
    Mutant("exits_beside_a_trigger", "orders close beside a trigger that may fire", _beside_a_trigger),
    Mutant("trigger_not_journalled", "a trigger leaves without its record", _without_a_record),
    Mutant("trigger_sent_again", "a trigger without an answer is sent again", _sent_again),
    Mutant("trigger_absent_early", "a trigger that one list does not show is gone", _absent_early),
    Mutant("trigger_outlives_its_plan", "the trigger of exits that are over stays",
           _trigger_outlives_its_plan),
    Mutant("trigger_cancel_forgotten", "a cancel of a trigger is taken, and forgotten",
           _cancel_of_trigger_forgotten),
    Mutant("legs_at_once", "a leg follows although the one before is not filled",
           _with_config(groups.Groups, group_next="accepted")),
    Mutant("sales_first", "the legs of a group that sell go first", _sales_first),
    Mutant("legs_missing", "a group goes with a leg missing", _legs_missing),
    Mutant("legs_of_one_deadline", "a leg that waits for others keeps the deadline of its intent",
           _legs_of_one_deadline),
    Mutant("group_not_undone", "what a broken group has filled stays",
           _with_config(Unwinder, group_partial="keep")),
    Mutant("one_slice_more", "an intent above the freeze quantity gets a slice too many", _one_slice_more),
    Mutant("one_slice_less", "an intent above the freeze quantity loses a slice", _one_slice_less),
    Mutant("not_sliced", "the freeze quantity is ignored", _not_sliced),
    Mutant("replay_forgets_plans", "a restart does not read PLAN records", _without(Kind.PLAN)),
    Mutant("replay_forgets_triggers", "a restart does not read GTT records", _without(Kind.GTT)),
    Mutant("replay_forgets_groups", "a restart does not read GROUP records", _without(Kind.GROUP)),
)  # fmt: skip
"""Mutants of exits, triggers, groups and slices."""
