"""The page of all keys is that of the models, and the schema says what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest

from kite_hft.app.setup.key_table import BEGIN, END, markdown, schema, with_table, write_into
from kite_hft.configuring.keys import keys_of
from kite_hft.settings import Settings

PAGE = Path("docs/configuration.md")


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text, f"run: kite-hft config schema --into {PAGE}"


def test_every_key_has_its_line() -> None:
    text = markdown()
    for path, _field in keys_of(Settings):
        if path == ("strategies",):
            continue
        section = f"### `{path[0]}`" if len(path) > 1 else "### Without a section"
        part = text[text.index(section) :].split("\n### ")[0]
        assert f"| `{'.'.join(path[1:] or path)}` |" in part, path


def test_the_schema_refuses_unknown_keys_and_knows_all(tmp_path: Path) -> None:
    found = schema()
    assert found["additionalProperties"] is False and set(found["properties"]) == set(Settings.model_fields)
    risk = found["$defs"]["RiskSection"]
    assert risk["additionalProperties"] is False and "max_daily_loss" in risk["properties"]


def test_a_page_without_the_marks_stays_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing\n")
    with pytest.raises(ValueError, match="no lines"):
        write_into(page)
    assert page.read_text() == "nothing\n"
    page.write_text(f"a\n{BEGIN}\noutdated line\n{END}\nb\n")
    write_into(page)
    assert page.read_text().startswith("a\n") and page.read_text().endswith(f"{END}\nb\n")
    assert "outdated line" not in page.read_text()
