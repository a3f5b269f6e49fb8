"""Layer 5, supervisor, cold: the log of a run: one JSON object a line, with the time in India."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, MutableMapping
from pathlib import Path
from typing import Any

from kite_hft.loading import loading
from kite_hft.sessions import ist_text


def printable(text: str) -> str:
    """One line that a terminal can show: words of the broker's go there too, with whatever is in them."""
    return "".join(c if c.isprintable() else " " for c in text)


def open_log(path: Path) -> Callable[[str], None]:
    """A function that writes one message; each line is on its way to the disk when it returns."""
    with loading():
        import structlog  # much, and only who keeps a log pays for it

    # Half a surrogate pair may stand in words of the broker's; it must not end the run.
    file = path.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")

    def with_time(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        stamp = structlog.processors.TimeStamper(fmt=None)(_logger, _method, {})["timestamp"]
        return {"time": ist_text(round(float(stamp) * 1e9)), **event}

    log = structlog.wrap_logger(
        structlog.WriteLogger(file),
        processors=[
            with_time,
            structlog.processors.add_log_level,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
    )

    def write(text: str) -> None:
        with contextlib.suppress(OSError):  # a full disk must not keep the engine from stopping in order
            log.info(text)

    return write
