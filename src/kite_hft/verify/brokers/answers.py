"""Layer 6, campaigns, cold: rows of the kit about what answers prove.

The law that all order handling rests on. An answer proves that an order came of the call (it names it), or
that none did, or it proves nothing. To call what proves nothing a refusal is how an order is sent twice.
"""

from __future__ import annotations

import json
from typing import Final

from kite_hft.trading.broker import (
    NO_SUCH_ORDER,
    NOT_PERMITTED,
    TOKEN_DEAD,
    Ambiguous,
    Confirmed,
    HttpResponse,
    Outcome,
    Refused,
)
from kite_hft.verify.brokers.kit import Kit, row

WORDS: Final = {"token": TOKEN_DEAD, "missing": NO_SUCH_ORDER, "permission": NOT_PERMITTED}
STATUSES: Final = (
    200,
    201,
    204,
    301,
    400,
    401,
    403,
    404,
    408,
    409,
    418,
    423,
    425,
    428,
    500,
    502,
    503,
    504,
    599,
)
RUBBISH: Final = (
    b"", b"{}", b"[]", b"null", b"<html>oops</html>", b'{"status":"success"}', b'{"status":"error"}',
    b'{"status":"success","data":{}}', b'{"status":"success","data":null}', b"\x00\xff\xfe",
    b'{"status":"error","errors":[]}', b'{"data":{"order_id":""}}', b'"', b"[" * 5000,
)  # fmt: skip


def parsed(kit: Kit, answer: tuple[int, bytes]) -> Outcome:
    """What the adapter says of it."""
    return kit.broker.parse_outcome(HttpResponse(*answer))


@row("confirmed", "a placement, a modification and a cancel that were done are confirmed with the order's id")
def confirmed(kit: Kit) -> None:
    """By the simulator's own answers; half of such an answer proves nothing."""
    answer = kit.ask(kit.broker.place(kit.order(kit.share)))
    found = kit.broker.parse_outcome(answer)
    true_id = next(iter(kit.bench.exchange.orders))
    kit.holds(found == Confirmed(true_id), f"{found}, the order is {true_id}")
    for cut in range(len(answer.body)):
        half = parsed(kit, (answer.status, answer.body[:cut]))
        kit.holds(isinstance(half, Ambiguous), f"{cut} bytes of {len(answer.body)}: {half}")
    cancelled = kit.broker.parse_outcome(kit.ask(kit.broker.cancel(true_id)))
    kit.holds(isinstance(cancelled, Confirmed), f"the cancel: {cancelled}")


@row("proof of refusal", "each refusal that is proof is one, in the words that the order stage understands")
def proofs(kit: Kit) -> None:
    """The side's table: a plain one, a dead token, too many calls at least."""
    kinds = {kind for _name, _answer, kind in kit.side.proofs}
    missing = {"refused", "token", "limited", "permission"} - kinds
    kit.holds(not missing, f"the side names no proof of {sorted(missing)}")
    for name, answer, kind in kit.side.proofs:
        found = parsed(kit, answer)
        if not kit.holds(isinstance(found, Refused), f"{name}: {found}"):
            continue
        assert isinstance(found, Refused)
        word = WORDS.get(kind)
        kit.holds(word is None or found.error_type == word, f"{name}: {found.error_type}, not {word}")
        kit.holds(
            found.http_status == (429 if kind == "limited" else answer[0]), f"{name}: {found.http_status}"
        )
        kit.holds(found.message, f"{name}: no word for a person")


@row("no proof", "everything else is ambiguous: gateways, time-outs, unknown words, half answers, rubbish")
def ambiguous(kit: Kit) -> None:
    """The same refusal under a status of the server's or of a time-out is none."""
    for name, answer, _wait_ns in kit.side.ambiguous:
        found = parsed(kit, answer)
        placed_404 = "404" in name  # the order stage judges that one: a placement names no order
        kit.holds(isinstance(found, Ambiguous) or placed_404, f"{name}: {found}")
    for status in STATUSES:
        for body in RUBBISH:
            found = parsed(kit, (status, body))
            dead = status == 401 and isinstance(found, Refused) and found.error_type == TOKEN_DEAD
            kit.holds(isinstance(found, Ambiguous) or dead, f"HTTP {status} {body[:30]!r}: {found}")
    for name, (_status, body), kind in kit.side.proofs:
        if kind == "limited":
            continue  # the rate limiter stands before the order system, under any status
        for status in (408, 500, 502, 503, 504):
            found = parsed(kit, (status, body))
            kit.holds(isinstance(found, Ambiguous), f"{name} under {status}: {found}")


@row("time-outs", "a refusal that speaks of a time-out takes itself back")
def timeouts(kit: Kit) -> None:
    """In the message of every plain refusal."""
    for name, (status, body), kind in kit.side.proofs:
        if kind != "refused":
            continue
        for words in ("Order request timed out.", "confirm before placing again", "request time-out at OMS"):
            found = parsed(kit, (status, _reworded(json.loads(body), words)))
            kit.holds(isinstance(found, Ambiguous), f"{name} with {words!r}: {found}")


def _reworded(told: object, words: str) -> bytes:
    """The same with another message, wherever it stands."""

    def walk(value: object) -> object:
        if isinstance(value, dict):
            return {key: words if key == "message" else walk(one) for key, one in value.items()}
        return [walk(one) for one in value] if isinstance(value, list) else value

    return json.dumps(walk(told)).encode()


@row("faults", "what the campaigns put in place of the broker's answers is what they take it for")
def faults(kit: Kit) -> None:
    """A fault that proves a refusal must say so, one that hides a deed must not."""
    for name, answer in kit.side.answers.items():
        found = parsed(kit, answer)
        wanted = Refused if name in ("http_429", "http_403", "read_429", "token_dead") else Ambiguous
        kit.holds(isinstance(found, wanted), f"{name}: {found}")
