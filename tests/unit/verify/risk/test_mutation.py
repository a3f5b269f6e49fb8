"""The small changes of a source, and that tests which see them are told from tests which do not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from kite_hft.verify.risk import mutation
from kite_hft.verify.simulation.mutants_of_source import EQUIVALENT, mutants_of

SOURCE = '''"""Words."""
LIMIT: int = 3


def within(a: int, b: int = 1) -> bool:
    """More words: 7 < 8."""
    if a < b and b != LIMIT:
        return a + b > 2
    raise ValueError(f"{a + 1}")
'''


def test_every_kind_of_change_is_made_once_and_words_are_left_alone() -> None:
    found = mutants_of(SOURCE, {})
    changed = {mutant.words.rpartition(": ")[2] for mutant in found}
    assert changed == {
        "Lt to LtE", "NotEq to Eq", "Gt to GtE", "and, or", "not", "None", "Add to Sub",
        "1 to 2", "1 to 0", "2 to 3", "2 to 1", "3 to 4", "3 to 2",
    }  # fmt: skip
    sources = [mutant.source() for mutant in found]
    assert len(set(sources)) == len(sources) == 13
    assert ast.unparse(ast.parse(SOURCE)) not in sources
    for source in sources:
        ast.parse(source)
        assert '"""More words: 7 < 8."""' in source and "a + 1" in source


def test_tables_lose_an_entry() -> None:
    found = mutants_of("TABLE = {A: 'x', B: 'y', **MORE}\nONE = {C}\nBOTH = {C, D}\n", {})
    assert [mutant.words.rpartition(": ")[2] for mutant in found] == [
        "without A", "without B", "without C", "without D",
    ]  # fmt: skip
    assert found[0].source().splitlines()[0] == "TABLE = {B: 'y', **MORE}"
    assert found[3].source().splitlines()[2] == "BOTH = {C}"


def test_known_equivalents_are_left_out() -> None:
    one = mutants_of(SOURCE, {"LIMIT: int = 3: 3 to 4": "for a test"})
    assert len(one) == 12 and not any("3 to 4" in mutant.words for mutant in one)


def test_each_equivalent_still_names_a_line() -> None:
    for module, known in EQUIVALENT.items():
        path = mutation.ROOT / "src/kite_hft" / f"{module.replace('.', '/')}.py"
        words = {mutant.words.partition(": ")[2] for mutant in mutants_of(path.read_text(), {})}
        assert set(known) <= words, module


def test_every_module_and_its_tests_exist() -> None:
    for module, tests in mutation.MODULES.items():
        assert (mutation.ROOT / "src/kite_hft" / f"{module.replace('.', '/')}.py").is_file()
        for test in tests:
            assert (mutation.ROOT / test).exists(), f"{module}: {test}"


@pytest.mark.parametrize(
    ("body", "failed"),
    [
        ("from kite_hft.units import NS_PER_S\ndef test_it() -> None:\n    assert NS_PER_S == 7\n", False),
        ("from kite_hft.units import NS_PER_S\ndef test_it() -> None:\n    assert NS_PER_S == 8\n", True),
        ("def test_it() -> None:\n    while True:\n        pass\n", True),
    ],
)
def test_a_mutant_stands_in_the_modules_place_and_a_hanging_one_is_found(
    tmp_path: Path, body: str, failed: bool
) -> None:
    test, source = tmp_path / "test_units.py", tmp_path / "units.py"
    test.write_text(body)
    source.write_text("NS_PER_S = 7\n")
    found, seconds = mutation.run_tests("units", source, [str(test)], 20.0 if "while" not in body else 3.0)
    assert found is failed and seconds < 20.0
