"""Engines of these tests keep no processes in reserve: a start costs a third less. Tests of restarts do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module", autouse=True)
def no_spares(request: pytest.FixtureRequest) -> Iterator[None]:
    """Unless the module says `WITH_SPARES = True`."""
    with pytest.MonkeyPatch.context() as patched:
        if not getattr(request.module, "WITH_SPARES", False):
            patched.setenv("KITE_SUPERVISION__SPARES", "false")
        yield
