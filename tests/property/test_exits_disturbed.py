"""Whatever people, brokers and crashes do to positions: exits close what is held, no more and no less."""

from __future__ import annotations

import pytest
from disturbed import Disturbed

SEEDS = (*range(8), 42, 83, 115)
"""In the last three a trigger would outlive its position, had an entry waited at that moment."""


@pytest.mark.parametrize("seed", SEEDS)
def test_once_it_is_calm_exits_fit_what_is_held(seed: int) -> None:
    day = Disturbed(seed)
    day.live()
    assert not day.wrong()
    assert not day.close_all()
