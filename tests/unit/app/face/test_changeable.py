"""Settings that a program may change: checked, and once the engine has read them refused."""

from __future__ import annotations

import pytest

from kite_hft.app.face.changeable import Changeable
from kite_hft.settings import Settings, SettingsError


def test_a_change_is_checked_like_the_file() -> None:
    config = Changeable(Settings())
    config.datafeed.store_ticks = True
    config.datafeed.tick_storage_format = "both"
    config.mode = "paper"
    assert config.settings.datafeed.store_ticks and config.datafeed.tick_storage_format == "both"
    with pytest.raises(SettingsError, match=r"^datafeed.silence_s: .*greater than 0"):
        config.datafeed.silence_s = -1
    with pytest.raises(SettingsError, match="no key 'store_tick'"):
        config.datafeed.store_tick = True
    with pytest.raises(AttributeError, match="no key 'feeds'"):
        _ = config.feeds
    assert config.datafeed.silence_s == Settings().datafeed.silence_s


def test_while_it_runs_only_some_can_be_changed() -> None:
    seen, running = [], [False]
    config = Changeable(Settings(), lambda: running[0], lambda key, settings: seen.append(key))
    config.datafeed.mode = "quote"
    running[0] = True
    config.datafeed.store_ticks = True
    with pytest.raises(SettingsError, match=r"stop\(\), change it, start\(\).*datafeed.store_ticks"):
        config.datafeed.mode = "ltp"
    assert config.datafeed.mode == "quote"
    assert seen == [("datafeed", "mode"), ("datafeed", "store_ticks")]


def test_what_is_refused_stays_as_it_was() -> None:
    def refuse(key: object, settings: object) -> None:
        raise SettingsError("no")

    config = Changeable(Settings(), changed=refuse)
    with pytest.raises(SettingsError, match="no"):
        config.datafeed.store_ticks = True
    assert config.datafeed.store_ticks is False
