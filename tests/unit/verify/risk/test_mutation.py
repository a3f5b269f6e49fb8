"""The small changes of a source, and that tests which see them are told from tests which do not."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kite_hft.verify.risk import mutation
from kite_hft.verify.risk.equivalents import EQUIVALENT
from kite_hft.verify.risk.mutation_run import by_file
from kite_hft.verify.simulation.mutants_of_source import mutants_of, name_of

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


def test_each_mutant_names_its_outermost_function() -> None:
    inner = "        def g():\n            return 3\n        return g\n"
    source = f"A = 1\nclass C:\n    B = 2\n    def f(self):\n{inner}"
    found = {(mutant.function, mutant.words.rpartition(": ")[2]) for mutant in mutants_of(source, {})}
    assert found == {
        ("", "1 to 2"), ("", "1 to 0"), ("", "2 to 3"), ("", "2 to 1"),
        ("C.f", "3 to 4"), ("C.f", "3 to 2"), ("C.f", "None"), ("C.f", "None"),
    }  # fmt: skip


def test_the_same_change_twice_in_a_line_has_two_names() -> None:
    found = mutants_of("PAIR = 0, 0\n", {"module: PAIR = 0, 0: 0 to 1 (2)": "for a test"})
    assert [mutant.words.partition(": ")[2] for mutant in found] == [
        "PAIR = 0, 0: 0 to 1", "PAIR = 0, 0: 0 to -1", "PAIR = 0, 0: 0 to -1 (2)",
    ]  # fmt: skip
    assert found[2].source() == "PAIR = (0, -1)"


def test_known_equivalents_are_left_out_of_their_function_only() -> None:
    one = mutants_of(SOURCE, {"module: LIMIT: int = 3: 3 to 4": "for a test"})
    assert len(one) == 12 and not any("3 to 4" in mutant.words for mutant in one)
    assert len(mutants_of(SOURCE, {"within: LIMIT: int = 3: 3 to 4": "for a test"})) == 13


def test_each_equivalent_still_names_a_mutant_and_has_a_reason() -> None:
    for module, known in EQUIVALENT.items():
        names = {name_of(m.words, m.function) for m in mutants_of(mutation.source_of(module), {})}
        assert set(known) <= names, f"{module}: {set(known) - names}"
        assert all(known.values())


def test_every_module_and_its_tests_exist() -> None:
    for module, tests in mutation.MODULES.items():
        assert mutation.source_of(module)
        for test in tests:
            assert (mutation.ROOT / test).exists(), f"{module}: {test}"


def test_a_survivor_is_told_with_its_place_its_change_and_how_to_try_it_again() -> None:
    source = mutation.source_of("units")
    every = mutants_of(source, {})
    number = next(n for n, mutant in enumerate(every) if mutant.words.endswith("19_800: 19800 to 19801"))
    line = source.splitlines().index("IST_OFFSET_S: Final = 19_800") + 1
    told = mutation.survivor("units", number, every[number])
    assert told["at"] == f"src/kite_hft/units.py:{line}" and told["function"] == ""
    assert told["diff"] == ["-IST_OFFSET_S: Final = 19800", "+IST_OFFSET_S: Final = 19801"]
    assert told["again"].endswith(f"risk --mutation --modules units --mutant {number}")


def test_of_a_long_line_the_part_that_differs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    source = f"TABLE = {{{', '.join(f'{n}: {n}' for n in range(1000, 1100))}}}\n"
    monkeypatch.setattr(mutation, "source_of", lambda module: source)
    mutant = next(m for m in mutants_of(source, {}) if m.words.endswith("without 1050"))
    gone, come = mutation.diff("x", mutant)
    assert len(gone) < 130 and "1049: 1049, 1050: 1050, 1051" in gone and "1049: 1049, 1051: 1051" in come


def tried(tmp_path: Path, test: str, *jobs: tuple[str, str]) -> list[Any]:
    """What a host says to mutants of the module `addresses`, line by line."""
    file = tmp_path / "test_addresses.py"
    file.write_text(test)
    job = {"module": "addresses", "tests": [str(file)], "jobs": jobs, "processes": 2, "limit_s": 2.0}
    command = [sys.executable, "-m", "kite_hft.verify.risk.mutation_run"]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, timeout=120)
    assert not done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


TEST = """
import pytest
from kite_hft import addresses

@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_here(host):
    assert addresses.is_loopback(f"http://{host}")
"""


def test_mutants_stand_in_the_modules_place_and_are_told_from_each_other(tmp_path: Path) -> None:
    began, *told = tried(
        tmp_path, TEST,
        ("is_loopback", "def is_loopback(url):\n    return url.endswith('1')\n"),
        ("is_loopback", "def is_loopback(url):\n    return True\n"),
        ("check_address", "raise ValueError\n"),
        ("", "raise ValueError\n"),
        ("is_loopback", "def is_loopback(url):\n    while True:\n        pass\n"),
        ("is_loopback", "import os\ndef is_loopback(url):\n    os.abort()\n"),
    )  # fmt: skip
    assert began["tests"] == 2
    found = {number: (seen, by.rpartition("::")[2]) for number, seen, by, _ in told}
    assert found == {
        0: (True, "test_here[localhost]"),
        1: (False, ""),
        2: (False, ""),  # no test enters the function
        3: (True, "import"),
        4: (True, "hangs"),
        5: (True, "dies"),
    }


def test_the_file_that_finds_the_most_is_asked_first() -> None:
    names = ["/a.py::x", "/b.py::y", "/a.py::z", "/c.py::w"]
    a, b, c = ["/a.py::x", "/a.py::z"], ["/b.py::y"], ["/c.py::w"]
    assert by_file(names, {}) == [b, c, a], "the one with the fewest tests"
    assert by_file(names, {"/a.py": 2, "/c.py": 1}) == [a, c, b]


def test_tests_that_fail_without_any_change_are_named(tmp_path: Path) -> None:
    (told,) = tried(tmp_path, "def test_wrong():\n    assert False\n", ("", "pass"))
    assert "do not pass as it is" in told["error"] and "test_wrong" in told["error"]


SHARED = """
import pytest
from kite_hft import addresses

@pytest.fixture(scope="module")
def answer():
    return addresses.is_loopback("http://10.0.0.1")

def test_first(answer):
    pass

def test_second(answer):
    assert answer is False
"""


def test_what_a_shared_fixture_enters_concerns_every_test(tmp_path: Path) -> None:
    _, told = tried(tmp_path, SHARED, ("is_loopback", "def is_loopback(url):\n    return True\n"))
    assert told[1] and told[2].endswith("::test_second")
