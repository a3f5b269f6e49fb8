"""Layer 4, simulator, cold: Upstox's envelope around an answer or a refusal, and its error codes.

Success is {"status": "success", "data": ...}, v3 orders add metadata.latency; an error lists its
errors in both casings (the camel-cased one is deprecated and still sent). What the exchange refuses
in words of its own gets the code that fits them (UDAPI100500 where none is published).
"""

from __future__ import annotations

from typing import Any, Final

from kite_hft.sim.exchange.chain import NOT_FOUND
from kite_hft.sim.exchange.checks import NO_PROTECTION
from kite_hft.sim.exchange.orders import Refusal
from kite_hft.sim.rest import JSON, Response, encode

BAD_TOKEN: Final = ("UDAPI100050", "Invalid token used to access API", 401)
READS_ALONE: Final = ("UDAPI100067", "This token may not be used for this request.", 401)
TOO_MANY: Final = ("UDAPI10005", "Too Many Request Sent", 429)
NO_ROUTE: Final = ("UDAPI100060", "Resource not Found.", 404)
NO_METHOD: Final = ("UDAPI10000", "This request is not supported by Upstox API", 405)
ORDERS_CLOSED: Final = (
    "UDAPI100074", "The Place and Modify Order API is accessible from 5:30 AM to 12:00 AM IST daily.", 423,
)  # fmt: skip
FUNDS_CLOSED: Final = (
    "UDAPI100072", "The Funds service is accessible from 5:30 AM to 12:00 AM IST daily.", 423,
)  # fmt: skip
NOT_BUILT: Final = ("UDAPI100060", "The broker has this call; the simulator has not.", 501)
BAD_ALGORITHM: Final = ("UDAPI1156", "Invalid X-Algo-Name.", 400)
NO_STATIC_IP: Final = "No static IP has been configured for this account."
WRONG_IP: Final = "The configured static IP does not match origin IP {}."
ANY_OTHER: Final = "UDAPI100500"
_HINTS: Final = (
    # (part of the exchange's words, code, status)
    (NOT_FOUND, "UDAPI100010", 404),
    ("cannot be cancelled as it is already", "UDAPI100040", 400),
    ("cannot be modified as it is already", "UDAPI100041", 400),
    (NO_PROTECTION, "UDAPI1158", 400),
    ("lot size", "UDAPI100036", 400),
    ("Tick size", "UDAPI100036", 400),
    ("Trigger price", "UDAPI1038", 400),
    ("Disclosed quantity", "UDAPI1039", 400),
    ("would be split into", "UDAPI1118", 400),
    ("Invalid `tag`", "UDAPI1119", 400),
)


def refusal(code: str, message: str, status: int = 400) -> Refusal:
    """A Refusal that knows its code."""
    return Refusal(code, message, status)


def success(data: Any, latency_ms: int | None = None, status: int = 200, **more: Any) -> Response:
    """The envelope around data; `more`: further fields beside it."""
    body = {"status": "success", "data": data} | more
    if latency_ms is not None:
        body["metadata"] = {"latency": latency_ms}
    return Response(status, JSON, encode(body))


def error(code: str, message: str, status: int) -> Response:
    """The envelope around one error."""
    return Response(status, JSON, encode({"status": "error", "errors": [error_row(code, message)]}))


def error_row(code: str, message: str) -> dict[str, Any]:
    """One error, in both casings."""
    return {
        "errorCode": code,
        "message": message,
        "propertyPath": None,
        "invalidValue": None,
        "error_code": code,
        "property_path": None,
        "invalid_value": None,
    }


def code_of(refused: Refusal) -> tuple[str, int]:
    """(code, HTTP status) of a refusal, whoever said it."""
    if refused.error_type.startswith("UDAPI"):
        return refused.error_type, refused.status
    for words, code, status in _HINTS:
        if words in refused.message:
            return code, status
    return ANY_OTHER, 400


def refused(refusal_: Refusal) -> Response:
    """A refusal in the envelope."""
    code, status = code_of(refusal_)
    return error(code, refusal_.message, status)
