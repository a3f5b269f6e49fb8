"""Shared fixtures: where the recorded data lies."""

from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parent.parent.parent / "shared" / "data"


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of recorded data beside the project; a test that needs it skips where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"recorded data not found at {DATA} (it is not part of the product)")
    return DATA
