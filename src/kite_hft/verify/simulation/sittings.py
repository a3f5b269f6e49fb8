"""Layer 6, by hand or CI, cold: a campaign of `verify sim` in several sittings, or on several machines.

A file keeps what was lived so far: which seeds, what they add up to, every break. The same command with
the same file goes on where it ended; files of different seeds are added up. Both hold only for one and
the same code: a sum over two engines says nothing about either.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kite_hft.verify.campaign import CONFIG, CampaignError

Span = tuple[int, int]
"""(first seed, how many)."""
PACKAGE: Final = Path(__file__).resolve().parents[2]


class Sums:
    """What days add up to."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.table: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def told(self) -> dict[str, dict[str, int]]:
        return {"counts": dict(self.counts), "table": dict(self.table), "others": dict(self.others)}

    def take(self, told: dict[str, dict[str, int]]) -> None:
        """Another process's, or sitting's, sums."""
        self.counts.update(told["counts"])
        self.table.update(told["table"])
        self.others.update(told["others"])


@dataclass(slots=True)
class Campaign:
    """What was lived so far. `seconds`: of all sittings, one after the other."""

    broker: str
    code: str
    spans: list[Span] = field(default_factory=list)
    sums: Sums = field(default_factory=Sums)
    breaks: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """So many days."""
        return sum(n for _, n in self.spans)

    def lived(self, first: int, n: int, told: dict[str, dict[str, int]]) -> None:
        """The sums of `n` more days."""
        self.spans = joined([*self.spans, (first, n)])
        self.sums.take(told)

    def lacking(self, first: int, n: int) -> list[Span]:
        """What of these days is still to be lived."""
        found, at = [], first
        for begin, length in self.spans:
            if begin > at:
                found.append((at, min(begin, first + n) - at))
            at = max(at, begin + length)
            if at >= first + n:
                break
        else:
            found.append((at, first + n - at))
        return [(begin, length) for begin, length in found if length > 0]

    def keep(self, path: Path) -> None:
        """Write it; what stood there is replaced at once or not at all."""
        told = {
            "campaign": "sim", "broker": self.broker, "code": self.code, "spans": self.spans,
            "seconds": round(self.seconds, 1), "breaks": self.breaks, "sums": self.sums.told(),
        }  # fmt: skip
        beside = path.with_name(path.name + ".new")
        beside.write_text(json.dumps(told))
        os.replace(beside, path)


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in their order, neighbours as one.

    Raises:
        CampaignError: a seed stands in two of them.
    """
    found: list[Span] = []
    for first, n in sorted(spans):
        end = sum(found[-1]) if found else first - 1
        if end > first:
            raise CampaignError(f"seed {first} was counted twice: add only files of different seeds")
        if end == first:
            found[-1] = (found[-1][0], found[-1][1] + n)
        else:
            found.append((first, n))
    return found


def code_of() -> str:
    """16 hex digits of everything that a day depends on: sources, compiled modules, rules."""
    digest = hashlib.sha256()
    for folder, kinds in ((PACKAGE, (".py", ".so")), (CONFIG, (".yaml",))):
        for path in sorted(found for found in folder.rglob("*") if found.suffix in kinds):
            digest.update(path.relative_to(folder).as_posix().encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(path: Path) -> Campaign:
    """What a file keeps.

    Raises:
        CampaignError: it cannot be read, or is no such file.
    """
    try:
        told = json.loads(path.read_bytes())
        found = Campaign(told["broker"], told["code"], [], Sums(), told["breaks"], told["seconds"])
        found.spans = joined((first, n) for first, n in told["spans"])
        found.sums.take(told["sums"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CampaignError(f"{path} keeps no campaign of `verify sim`: {error!r}") from None
    return found


def gone_on(path: Path, broker: str) -> Campaign:
    """The campaign that the file keeps; a new one where there is none.

    Raises:
        CampaignError: it is another broker's, or its days were lived by other code.
    """
    campaign = Campaign(broker, code_of())
    if not path.exists():
        return campaign
    found = read(path)
    if found.broker != broker:
        raise CampaignError(f"{path} keeps days with {found.broker}: name another file for {broker}")
    if found.code != campaign.code:
        raise CampaignError(
            f"{path} keeps days of other code ({found.code}, now {campaign.code}): begin anew"
        )
    return found


def added(paths: Sequence[Path]) -> Campaign:
    """Several files as one.

    Raises:
        CampaignError: of two brokers, of two codes, or with a seed in two of them.
    """
    whole, *more = [read(path) for path in paths]
    for path, part in zip(paths[1:], more, strict=True):
        if (part.broker, part.code) != (whole.broker, whole.code):
            raise CampaignError(f"{path} is of {part.broker}, code {part.code}: {paths[0]} is not")
        whole.spans = joined([*whole.spans, *part.spans])
        whole.sums.take(part.sums.told())
        whole.breaks += part.breaks
        whole.seconds += part.seconds
    return whole
