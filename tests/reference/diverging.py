"""The slow, obvious rule of two feeds that part. Standard library only; nothing of the product.

`parted(looks, limits)`: looks at one instrument as (time, price a, received a, price b, received b), oldest
first, times in ns -> after each look whether the feeds are apart. limits: percent, px (most units that are no
difference), for_ns, agree_ns, fresh_ns.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

Look = tuple[int, int, int, int, int]


def state(look: Look, limits: dict[str, Any]) -> str:
    now_ns, a, a_ns, b, b_ns = look
    if a <= 0 or b <= 0 or max(now_ns - a_ns, now_ns - b_ns) > limits["fresh_ns"]:
        return "unknown"
    off = abs(a - b)
    far = off > limits["px"] and Fraction(100 * off, min(a, b)) > Fraction(limits["percent"])
    return "differ" if far else "agree"


def parted(looks: list[Look], limits: dict[str, Any]) -> list[bool]:
    answers: list[bool] = []
    last_turn = 0  # the first look after the state has changed last
    for at, look in enumerate(looks):
        apart = answers[-1] if answers else False
        wanted = "agree" if apart else "differ"
        begin = at
        while begin >= last_turn and state(looks[begin], limits) == wanted:
            begin -= 1
        span = looks[begin + 1 : at + 1]  # the looks in a row that speak for a change
        enough = limits["agree_ns"] if apart else limits["for_ns"]
        turns = bool(span) and look[0] - span[0][0] >= enough
        answers.append(apart != turns)
        if turns:
            last_turn = at + 1
    return answers
