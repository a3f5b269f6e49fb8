"""The extras that people were promised: they are there, and all that they bring is locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]


def name_of(requirement: str) -> str:
    """`upstox-python-sdk` of `upstox_python_sdk==2.30.0`, as lock files write it."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement)[0]).lower()


def packages(extra: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """All that an extra brings, those of the extras that it names among them."""
    assert extra in EXTRAS and extra not in seen, extra
    found: set[str] = set()
    for requirement in EXTRAS[extra]:
        if name_of(requirement) == PROJECT["name"]:
            named = re.findall(r"[\w-]+", requirement.partition("[")[2].partition("]")[0])
            found |= {p for one in named for p in packages(one, seen | {extra})}
        else:
            found.add(name_of(requirement))
    return found


def locked(name: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "locks" / f"{name}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("extra", "lock"), [("dev", "test"), ("performance", "runtime"), ("test", "test"), ("bench", "bench")]
)
def test_whatever_an_extra_brings_is_in_its_lock(extra: str, lock: str) -> None:
    assert packages(extra) <= locked(lock)


def test_dev_brings_what_builds_tests_and_judges_the_code() -> None:
    assert packages("dev") == packages("build") | packages("test")
    assert {"pytest", "hypothesis", "ruff", "mypy", "cython", "kiteconnect"} <= packages("dev")


def test_what_makes_it_fast_is_no_extra() -> None:
    """`performance` is empty because all of it is installed in any case."""
    needed = {name_of(requirement) for requirement in PROJECT["dependencies"]}
    assert packages("performance") == set() and {"numba", "uvloop", "picows", "numpy"} <= needed <= locked(
        "runtime"
    )


@pytest.mark.parametrize("page", ["README.md", "docs/NEW_USER_GUIDE.md", "docs/python.md"])
def test_the_extras_are_told_of(page: str) -> None:
    text = (ROOT / page).read_text()
    assert ".[dev]" in text and ".[performance]" in text
