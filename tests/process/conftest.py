"""Engines of these tests keep no processes in reserve: a start costs a third less. Tests of restarts do."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from kite_hft.sessions import ist_text

LAST_ENTRY = "23:20:00"
"""A rehearsal has its market open all day; entries end some minutes before midnight, as before any close."""


@pytest.fixture
def open_for_entries() -> None:
    """Skip where the market of a rehearsal by the real clock takes no entries any more."""
    if (now := ist_text(time.time_ns()).split(" ")[1]) >= LAST_ENTRY:
        pytest.skip(f"it is {now} in India: a rehearsal takes no entries from {LAST_ENTRY} to midnight")


@pytest.fixture(scope="module", autouse=True)
def no_spares(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unless the module says `WITH_SPARES = True`."""
    with pytest.MonkeyPatch.context() as patched:
        if not getattr(request.module, "WITH_SPARES", False):
            patched.setenv("KITE_SUPERVISION__SPARES", "false")
        yield
