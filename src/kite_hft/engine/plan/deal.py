"""Layer 5, supervisor, cold: which connection carries which instruments.

Instruments that one strategy wants belong together: on one connection its worker drains one ring
and nothing crosses processes. What cannot stay together is cut into as few even parts as possible,
and one worker drains the rings of all of them. Pure and deterministic: a restarted supervisor deals
the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise


def together(wanted: Sequence[frozenset[int]]) -> list[frozenset[int]]:
    """Groups of slots that belong together because strategies share them, the largest first.

    wanted: the slots of each strategy that must see all of its instruments.
    """
    groups: list[frozenset[int]] = []
    for slots in wanted:
        apart = [other for other in groups if not other & slots]
        shared = [other for other in groups if other & slots]
        groups = [*apart, slots.union(*shared)]
    return sorted((group for group in groups if group), key=lambda group: (-len(group), min(group)))


def deal(
    instruments: int, groups: Sequence[frozenset[int]], count: int, room: int
) -> tuple[tuple[int, ...], ...]:
    """The slots of each of `count` connections, ascending; every slot 0..instruments-1 exactly once.

    groups: disjoint, as `together` makes them. No connection gets more than `room`; none is empty
    when there are at least as many instruments as connections. What no strategy wants evens the
    connections out.
    """
    if instruments > count * room:
        raise ValueError(f"{instruments} instruments on {count} connections of {room}")
    grouped = frozenset().union(*groups)
    rest = [slot for slot in range(instruments) if slot not in grouped]
    parts = _cut(groups, count - len(rest))
    dealt, leftover = min(
        (_place(parts, count, room, fullest_first) for fullest_first in (False, True)),
        key=lambda placed: (placed[0].count([]) > len(rest) + len(placed[1]), len(placed[1])),
    )
    for group in leftover:
        _spread(dealt, group, room)
    for slot in rest:
        min(dealt, key=len).append(slot)
    return tuple(tuple(sorted(slots)) for slots in dealt)


def _cut(groups: Sequence[frozenset[int]], at_least: int) -> list[list[int]]:
    """The groups as sorted lists, the largest ones cut evenly until there are `at_least` parts."""
    pieces = {group: 1 for group in groups}
    while len(groups) and sum(pieces.values()) < at_least:
        largest = max(groups, key=lambda group: (len(group) / pieces[group], -min(group)))
        if pieces[largest] == len(largest):
            break
        pieces[largest] += 1
    cut = [part for group in groups for part in _even(sorted(group), pieces[group])]
    return sorted(cut, key=lambda part: (-len(part), part[0]))


def _even(slots: list[int], pieces: int) -> list[list[int]]:
    """`slots` in order, in `pieces` parts whose sizes differ by one at most."""
    bounds = [len(slots) * n // pieces for n in range(pieces + 1)]
    return [slots[a:b] for a, b in pairwise(bounds)]


def _place(
    parts: Sequence[list[int]], count: int, room: int, fullest_first: bool
) -> tuple[list[list[int]], list[list[int]]]:
    """Parts whole onto connections; returns (connections, parts that no connection had room for).

    The emptiest connection first spreads the load; the fullest first wastes less room.
    """
    dealt: list[list[int]] = [[] for _ in range(count)]
    over = []
    for part in parts:
        fits = [slots for slots in dealt if len(slots) + len(part) <= room]
        if not fits:
            over.append(part)
        elif fullest_first:
            max(fits, key=len).extend(part)
        else:
            min(fits, key=len).extend(part)
    return dealt, over


def _spread(dealt: list[list[int]], group: list[int], room: int) -> None:
    """A group that fits nowhere: over as few connections as have room for it, evenly."""
    emptiest = sorted(dealt, key=len)
    few = next(n for n in range(1, len(dealt) + 1) if sum(room - len(s) for s in emptiest[:n]) >= len(group))
    taking = emptiest[:few]
    shares = dict.fromkeys(range(few), 0)
    for _ in group:
        open_ = [n for n in range(few) if len(taking[n]) + shares[n] < room]
        shares[min(open_, key=lambda n: (len(taking[n]) + shares[n], n))] += 1
    at = 0
    for n, share in shares.items():
        taking[n].extend(group[at : at + share])
        at += share


def owners(dealt: Sequence[Sequence[int]], groups: Sequence[frozenset[int]]) -> list[tuple[int, ...]]:
    """The connections of each worker: one each, but those that a group spans share a worker."""
    sets = [frozenset(slots) for slots in dealt]
    owner = list(range(len(dealt)))
    for group in groups:
        spanned = {owner[number] for number, slots in enumerate(sets) if slots & group}
        owner = [min(spanned) if o in spanned else o for o in owner]
    return [tuple(n for n, o in enumerate(owner) if o == first) for first in sorted(set(owner))]
