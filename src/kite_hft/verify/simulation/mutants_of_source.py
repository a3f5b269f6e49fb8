"""Layer 6, campaigns, cold: the small changes that a module's source can be given, one at a time.

    comparison     < and <=, > and >=, == and !=, is and is not, in and not in change places
    number         n becomes n + 1, and n - 1
    and, or        change places
    condition      of if, while and a conditional expression: negated
    return         what is returned becomes None
    table          one entry of a dict or of a set is missing
    arithmetic     + and -, * and // change places

Annotations, docstrings, defaults of `Final` texts and raised errors' words are left alone.
"""

from __future__ import annotations

import ast
import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

_COMPARED: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_REACHED: Final[dict[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change. words: line, what it was and what it became. function: "Class.method", "" outside."""

    words: str
    function: str
    _tree: ast.Module
    _at: int
    _change: Callable[[ast.AST], ast.AST]

    def source(self) -> str:
        """The whole module with the change."""
        tree = copy.deepcopy(self._tree)
        node = list(ast.walk(tree))[self._at]
        changed = self._change(node)
        if changed is not node:
            _replace(tree, node, changed)
        return ast.unparse(ast.fix_missing_locations(tree))


def _replace(tree: ast.AST, old: ast.AST, new: ast.AST) -> None:
    for parent in ast.walk(tree):
        for name, value in ast.iter_fields(parent):
            if value is old:
                setattr(parent, name, new)
                return
            if isinstance(value, list) and any(item is old for item in value):
                value[:] = [new if item is old else item for item in value]
                return
    raise LookupError("the node is not in the tree")


def mutants_of(source: str, equivalent: Mapping[str, str]) -> list[Mutant]:
    """All mutants of a module but those that are known to change nothing."""
    tree = ast.parse(source)
    spared, lines, within = _spared(tree), source.splitlines(), _functions(tree)
    found: list[Mutant] = []
    told: Counter[str] = Counter()
    for at, node in enumerate(ast.walk(tree)):
        if id(node) in spared:
            continue
        for what, change in _changes(node):
            line = getattr(node, "lineno", 0)
            before = lines[line - 1].strip()[:80] if line else ""
            words = f"line {line}: {before}: {what}"
            told[words] += 1
            if told[words] > 1:
                words = f"{words} ({told[words]})"
            function = within.get(id(node), "")
            if name_of(words, function) not in equivalent:
                found.append(Mutant(words, function, tree, at, change))
    return found


def name_of(words: str, function: str) -> str:
    """A mutant's name that outlives changes elsewhere: its function, and `words` without the line."""
    return f"{function or 'module'}: {words.partition(': ')[2]}"


def _functions(tree: ast.Module) -> dict[int, str]:
    """Node -> the outermost function that it stands in, "Class.method"."""
    found: dict[int, str] = {}
    scopes: list[tuple[str, list[ast.stmt]]] = [("", tree.body)]
    while scopes:
        name, body = scopes.pop()
        for node in body:
            if isinstance(node, ast.ClassDef):
                scopes.append((f"{name}{node.name}.", node.body))
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for inner in node.body:
                    found.update((id(part), name + node.name) for part in ast.walk(inner))
    return found


def _spared(tree: ast.Module) -> set[int]:
    """Nodes that say nothing about what the code does: annotations, docstrings, words of errors."""
    spared: set[int] = set()
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = []
        if isinstance(node, ast.AnnAssign):
            parts = [node.annotation]
        elif isinstance(node, ast.FunctionDef):
            parts = [
                node.returns,
                *(arg.annotation for arg in ast.walk(node.args) if isinstance(arg, ast.arg)),
            ]
            parts += node.decorator_list
        elif isinstance(node, ast.Assert | ast.JoinedStr | ast.Raise):
            parts = [node]
        elif isinstance(node, ast.ClassDef):
            parts = list(node.decorator_list)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            parts = [node]
        elif (
            isinstance(node, ast.If)
            and node.body
            and isinstance(node.body[0], ast.Raise)
            and node in tree.body
        ):
            parts = [node]  # a check at import
        for part in parts:
            spared.update(id(inner) for inner in ast.walk(part or ast.Pass()))
    return spared


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], ast.AST]]]:
    """(what is done, how) for one node; the change gets the node of a copied tree."""
    if isinstance(node, ast.Compare):
        for at, op in enumerate(node.ops):
            other = _COMPARED[type(op)]
            yield f"{type(op).__name__} to {other.__name__}", _compare(at, other)
    elif isinstance(node, ast.Constant) and type(node.value) is int:
        for step in (1, -1):
            yield f"{node.value} to {node.value + step}", _number(step)
    elif isinstance(node, ast.BoolOp):
        yield "and, or", _boolean
    elif isinstance(node, ast.If | ast.While | ast.IfExp):
        yield "not", _negate
    elif isinstance(node, ast.Return) and node.value is not None:
        if not (isinstance(node.value, ast.Constant) and node.value.value is None):
            yield "None", _nothing
    elif isinstance(node, ast.Dict | ast.Set):
        entries = node.keys if isinstance(node, ast.Dict) else node.elts
        for at, entry in enumerate(entries):
            if entry is not None and len(entries) > 1:
                yield f"without {ast.unparse(entry)[:40]}", _without(at)
    elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _REACHED:
        yield f"{type(node.op).__name__} to {_REACHED[type(node.op)].__name__}", _reckon


def _compare(at: int, other: type[ast.cmpop]) -> Callable[[Any], ast.AST]:
    def change(node: Any) -> ast.AST:
        node.ops[at] = other()
        return node  # type: ignore[no-any-return]

    return change


def _without(at: int) -> Callable[[Any], ast.AST]:
    def change(node: Any) -> ast.AST:
        for column in ("keys", "values", "elts"):
            if hasattr(node, column):
                del getattr(node, column)[at]
        return node  # type: ignore[no-any-return]

    return change


def _number(step: int) -> Callable[[Any], ast.AST]:
    def change(node: Any) -> ast.AST:
        return ast.copy_location(ast.Constant(node.value + step), node)

    return change


def _boolean(node: Any) -> ast.AST:
    node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    return node  # type: ignore[no-any-return]


def _negate(node: Any) -> ast.AST:
    node.test = ast.UnaryOp(ast.Not(), node.test)
    return node  # type: ignore[no-any-return]


def _nothing(node: Any) -> ast.AST:
    node.value = ast.Constant(None)
    return node  # type: ignore[no-any-return]


def _reckon(node: Any) -> ast.AST:
    node.op = _REACHED[type(node.op)]()
    return node  # type: ignore[no-any-return]
