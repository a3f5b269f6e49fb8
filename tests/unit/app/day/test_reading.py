"""Why there is no account to read: nobody has one before the run, or there is no token to ask with."""

from __future__ import annotations

from pathlib import Path

import pytest
from day_tools import opened_with

from kite_hft.app.day.reading import read_account


@pytest.mark.parametrize(
    ("values", "notes"),
    [
        ({"mode": "live"}, ("not read: there is no token of kite; log in, then look again",)),
        ({"mode": "paper"}, ()),
        ({"mode": "sim"}, ()),
    ],
)
def test_an_account_that_is_not_read_says_why(
    tmp_path: Path, values: dict[str, str], notes: tuple[str, ...]
) -> None:
    view = read_account(opened_with(tmp_path, **values), None)
    assert (view.source, view.notes, view.error) == ("", notes, "")
