"""Profiles set keys that there are, to values that fit."""

from __future__ import annotations

import pytest

from kite_hft.configuring.profiles import PROFILES
from kite_hft.settings import Settings


@pytest.mark.parametrize("name", PROFILES)
def test_a_profile_fits_the_models(name: str) -> None:
    assert Settings.model_validate({**PROFILES[name], "profile": name}).profile == name


def test_all_that_can_be_named() -> None:
    assert set(PROFILES) == {"speed", "lean"}
