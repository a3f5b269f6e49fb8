"""Layer 6, a user's program, cold: what several modules of this folder say, and the error that they raise."""

from __future__ import annotations

import logging
from typing import Final

FAILED: Final = "failed: "
"""How the engine's process begins the line that says why it could not start."""
LOG: Final = logging.getLogger("kite_hft.datafeed")
"""Silent below a warning until the program configures logging, as it is the custom with libraries."""


class DataFeedError(Exception):
    """The prices cannot be had; the message says why and what to do."""
