"""Layer 4, simulator, cold: one request, one answer, and the table that leads from one to the other.

Of no broker: a desk (orders, portfolio, ...) gives its routes, the broker's API finds the route, counts
the request and puts the desk's answer into the broker's envelope. A desk refuses by raising Refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from kite_hft.sim.exchange.orders import Refusal

JSON: Final = "application/json"
CSV: Final = "text/csv"
HTML: Final = "text/html"
OTHER: Final = "other"
"""The kind of request that has no limit of its own."""
ANY: Final = "*"
"""A part of a path that may be anything; it becomes one of Call.args."""

Query = Sequence[tuple[str, str]]
encode: Final = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer; `headers` beside Content-Type."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to a desk. `query`: decoded pairs; `headers`: lower-case names."""

    args: tuple[str, ...]
    query: Query
    headers: Mapping[str, str]
    body: bytes
    now_ns: int
    remote: str

    def given(self, name: str, default: str = "") -> str:
        """A query parameter's last value."""
        return next((value for key, value in reversed(self.query) if key == name), default)

    def all_given(self, name: str) -> list[str]:
        """All values of a repeated query parameter."""
        return [value for key, value in self.query if key == name]

    def pairs(self) -> list[tuple[str, str]]:
        """The form in the body.

        Raises:
            Refusal: it is no form.
        """
        try:
            return parse_qsl(
                self.body.decode("utf-8"), keep_blank_values=True, strict_parsing=bool(self.body)
            )
        except ValueError:
            raise Refusal("InputException", "Invalid form data.") from None

    def form(self) -> dict[str, str]:
        """The form in the body, the last value of each field. Raises Refusal."""
        return dict(self.pairs())

    def json_rows(self) -> list[Mapping[str, Any]]:
        """The array of objects in the body.

        Raises:
            Refusal: it is none, or empty.
        """
        rows = json_of(self.body, "request body")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise Refusal("InputException", "Invalid JSON. Expected a list of orders.")
        return rows


def json_of(text: bytes | str, name: str) -> Any:
    """Decoded JSON. Raises Refusal."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("InputException", f"Invalid JSON in `{name}`.") from None


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path. `kind`: which limit it counts against; `fixed_ip`: checks who asks;
    `open`: needs no token. The answer is the envelope's data, or a whole Response."""

    method: str
    path: str
    answer: Callable[[Call], Any]
    kind: str = OTHER
    fixed_ip: bool = False
    open: bool = False
    parts: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(part for part in self.path.split("/") if part))

    def match(self, parts: Sequence[str]) -> tuple[str, ...] | None:
        """What stands for each ANY of the path; None: another path."""
        if len(parts) != len(self.parts):
            return None
        args = []
        for ours, theirs in zip(self.parts, parts, strict=True):
            if ours == ANY:
                args.append(theirs)
            elif ours != theirs:
                return None
        return tuple(args)


class RouteTable:
    """All routes of the API; where two fit, the one given first counts."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._by_length: dict[int, list[Route]] = {}
        for route in routes:
            self._by_length.setdefault(len(route.parts), []).append(route)

    def find(self, method: str, parts: Sequence[str]) -> tuple[Route, tuple[str, ...]] | None:
        """The route of a request and its arguments; None: the path takes no such method.

        Raises:
            LookupError: no such path.
        """
        known = False
        for route in self._by_length.get(len(parts), ()):
            args = route.match(parts)
            if args is not None:
                known = True
                if route.method == method:
                    return route, args
        if not known:
            raise LookupError("/".join(parts))
        return None
