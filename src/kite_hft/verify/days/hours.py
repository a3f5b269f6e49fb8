"""Layer 6, campaigns, cold: how a day ends, by broker and class of instrument, for the judge of `verify eod`.

Read off the dated rules by hand: the judge takes no time from the engine.
"""

from __future__ import annotations

from typing import Final

PHASES: Final = ("15:15:00", "15:20:00", "15:25:00", "15:28:00", "15:30:00", "15:40:00")
HOURS: Final = {  # class -> when we begin to close it, when it has to be flat, when the broker closes it
    "kite": {
        "cas": ("15:00:00", "15:08:00", "15:08:00"),
        "share": ("15:10:00", "15:15:00", "15:20:00"),
        "future": ("15:15:00", "15:20:00", "15:25:00"),
        "option": ("15:15:00", "15:20:00", "15:25:00"),
        "currency": ("16:35:00", "16:40:00", "16:45:00"),
        "commodity": ("22:55:00", "23:00:00", "23:05:00"),
    },
    "upstox": {
        "cas": ("15:00:00", "15:08:00", "15:08:00"),
        "share": ("15:05:00", "15:10:00", "15:15:00"),
        "future": ("15:05:00", "15:10:00", "15:20:00"),
        "option": ("15:05:00", "15:10:00", "15:20:00"),
        "currency": ("16:20:00", "16:25:00", "16:30:00"),
        "commodity": ("22:40:00", "22:45:00", "22:50:00"),
    },
}
"""By broker."""
EVENING: Final = {
    "kite": {"currency": ("16:20:00", "17:01:00"), "commodity": ("22:40:00", "23:31:00")},
    "upstox": {"currency": ("16:05:00", "17:01:00"), "commodity": ("22:25:00", "23:31:00")},
}
"""From when to when a case lives that is about what trades longer."""
EXCHANGES: Final = {"currency": "CDS", "commodity": "MCX"}
AFTERNOON: Final = ("14:40:00", "15:41:00")
LOTS: Final = {"cas": 1, "share": 1, "future": 50, "option": 75, "currency": 1, "commodity": 1}
