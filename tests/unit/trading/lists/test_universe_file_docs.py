"""The universe in docs/instruments.md is one that can be used."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from kite_hft.trading.lists.universe_file import parse_universe

PAGE = Path("docs/instruments.md")


def test_the_universe_of_the_docs() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    found = parse_universe(yaml.safe_load(text), str(PAGE), lambda name: [])
    assert len(found.names) == 3 and len(found.rules) == 2 and found.largest == 3000
