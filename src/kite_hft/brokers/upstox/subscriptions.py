"""Layer 2, supervisor, cold: how many keys Upstox streams to one user, and how they fit on connections.

The broker answers a request beyond a limit with nothing at all, so what does not fit is refused before
anything connects. Numbers come from the rules file (config/rules/upstox_*.yaml, `extras`). Each mode has a
number for when it is the only one in use, and a smaller one for when several are. The broker's page counts
keys by user; where an account is known to have them on each connection, `per_user` False says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

MODES: Final[dict[str, int]] = {"ltpc": 1, "option_greeks": 2, "full": 3, "full_d30": 4}
"""Streaming modes by the name on the wire; the numbers are ours."""

Connection = dict[str, tuple[int, ...]]
"""What one connection subscribes: mode -> tokens."""


class SubscriptionError(ValueError):
    """Subscriptions that Upstox would not serve; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class FeedLimits:
    """connections: of one user. alone, mixed: keys by mode, when it is the only one and when it is not."""

    connections: int
    alone: Mapping[str, int]
    mixed: Mapping[str, int]
    per_user: bool = True
    plus: bool = False


def feed_limits(extras: Mapping[str, float], *, plus: bool = False, per_user: bool = True) -> FeedLimits:
    """The limits of an account, from `extras` of the rules file. plus: it has Upstox Plus.

    Raises:
        SubscriptionError: a number is missing in the file.
    """

    def number(name: str) -> int:
        found = extras.get(f"plus_{name}", extras.get(name)) if plus else extras.get(name)
        if found is None:
            raise SubscriptionError(
                f"extras of the Upstox rules file lack {name}: take them from a newer file"
            )
        return int(found)

    alone = {mode: number(f"keys_{mode}") for mode in MODES}
    mixed = {mode: number(f"keys_{mode}_mixed") for mode in MODES}
    return FeedLimits(number("feed_connections"), alone, mixed, per_user, plus)


def check_subscriptions(connections: Sequence[Mapping[str, Collection[int]]], limits: FeedLimits) -> None:
    """Refuse what Upstox would answer with silence. connections: mode -> tokens of each.

    Raises:
        SubscriptionError: an unknown mode, too many connections or keys, a token that stands twice.
    """
    if len(connections) > limits.connections:
        raise SubscriptionError(
            f"{len(connections)} connections; Upstox gives a user {limits.connections}"
            f"{'' if limits.plus else ' (5 with Upstox Plus: upstox.plus)'}: ask for fewer"
        )
    seen: dict[int, str] = {}
    counts: list[dict[str, int]] = []
    for number, wanted in enumerate(connections):
        counts.append({mode: len(tokens) for mode, tokens in wanted.items() if tokens})
        for mode, tokens in wanted.items():
            if mode not in MODES:
                raise SubscriptionError(f"unknown mode {mode!r}: one of {', '.join(MODES)}")
            for token in tokens:
                if token in seen:
                    raise SubscriptionError(
                        f"token {token} stands in {seen[token]} and in {mode} of connection {number}: "
                        "an instrument has one mode, on one connection"
                    )
                seen[token] = f"{mode} of connection {number}"
    modes = {mode for count in counts for mode in count}
    caps = limits.mixed if len(modes) > 1 else limits.alone
    if limits.per_user:
        total = {mode: sum(count.get(mode, 0) for count in counts) for mode in modes}
        _refuse_beyond(total, caps, "a user", sorted(modes))
    else:
        for number, count in enumerate(counts):
            _refuse_beyond(count, caps, f"a connection (number {number})", sorted(modes))


def _refuse_beyond(
    counts: Mapping[str, int], caps: Mapping[str, int], whose: str, modes: Sequence[str]
) -> None:
    for mode, count in sorted(counts.items()):
        most = caps[mode]
        if count <= most:
            continue
        beside = f" beside {', '.join(other for other in modes if other != mode)}" if len(modes) > 1 else ""
        if not most:
            plus = "needs Upstox Plus" if mode == "full_d30" else "is not served"
            raise SubscriptionError(f"mode {mode}{beside} {plus}: set upstox.plus, or take mode full")
        smaller = [
            f"{other} ({caps[other]:,})" for other in ("full", "option_greeks", "ltpc") if caps[other] > most
        ]
        hint = f", or take a smaller mode: {', '.join(smaller)}" if smaller else ""
        raise SubscriptionError(
            f"{count:,} keys in mode {mode}{beside}; Upstox streams {most:,} to {whose}: "
            f"subscribe to fewer{hint}"
        )


def plan_subscriptions(
    wanted: Mapping[str, Sequence[int]], limits: FeedLimits, connections: int = 0
) -> list[Connection]:
    """Spread mode -> tokens evenly over `connections` (0: as few as will do), in the order given.

    Raises:
        SubscriptionError: as `check_subscriptions`.
    """
    asked = {mode: tuple(tokens) for mode, tokens in wanted.items() if len(tokens)}
    unknown = sorted(set(asked) - set(MODES))
    if unknown:
        raise SubscriptionError(f"unknown mode {unknown[0]!r}: one of {', '.join(MODES)}")
    caps = limits.mixed if len(asked) > 1 else limits.alone
    n = connections
    if not n:
        needed = [
            1 if limits.per_user or not caps[mode] else -(-len(asked[mode]) // caps[mode]) for mode in asked
        ]
        n = max(1, *needed, 1)
    plan = [
        {mode: tokens[len(tokens) * at // n : len(tokens) * (at + 1) // n] for mode, tokens in asked.items()}
        for at in range(n)
    ]
    check_subscriptions(plan, limits)
    return [{mode: tokens for mode, tokens in one.items() if tokens} for one in plan]
