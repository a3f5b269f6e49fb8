"""Layer 0, supervisor, cold: what stands where in a parsed YAML document, and how much it is.

Nodes are yaml's own: `id` is mapping, sequence or scalar, `value` pairs, nodes or text.
"""

from __future__ import annotations

from typing import Any

from kite_hft.configuring.layers import Key


def key_lines(node: Any, found: dict[Key, int], at: Key = ()) -> str:
    """Put the line of every key and list item into `found`, by its path in the file.

    Returns what is wrong: a key that is there twice, of which YAML would take the second. "": nothing.
    """
    if node is not None and node.id == "mapping":
        for key, value in node.value:
            here, line = (*at, str(key.value)), key.start_mark.line + 1
            if here in found:
                words = ".".join(map(str, here))
                return f"line {line}: {words} is there already, in line {found[here]}: keep one of them"
            found[here] = line
            if wrong := key_lines(value, found, here):
                return wrong
    elif node is not None and node.id == "sequence":
        for index, value in enumerate(node.value):
            found[*at, index] = value.start_mark.line + 1
            if wrong := key_lines(value, found, (*at, index)):
                return wrong
    return ""


def values_of(node: Any, most: int) -> int:
    """How many values there are once each alias is what it stands for; more than `most` where one holds
    itself. Takes the time of the text, not of what it stands for."""
    known: dict[int, int] = {}

    def count(node: Any) -> int:
        if id(node) not in known:
            known[id(node)] = most + 1  # for whoever meets it again further down
            if node.id == "mapping":
                inner = sum(count(key) + count(value) for key, value in node.value)
            else:
                inner = sum(map(count, node.value)) if node.id == "sequence" else 0
            known[id(node)] = 1 + inner
        return known[id(node)]

    return count(node)
