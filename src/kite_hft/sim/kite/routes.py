"""Layer 4, simulator, cold: Kite's envelope around an answer or a refusal."""

from __future__ import annotations

from typing import Any

from kite_hft.sim.rest import JSON, Response, encode


def success(data: Any) -> Response:
    """Kite's envelope around an answer."""
    return Response(200, JSON, encode({"status": "success", "data": data}))


def error(status: int, error_type: str, message: str) -> Response:
    """Kite's envelope around a refusal."""
    body = {"status": "error", "message": message, "error_type": error_type}
    return Response(status, JSON, encode(body))
