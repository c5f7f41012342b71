"""Nested tuples, lists and dicts of values: taken apart into leaves and put together again."""

from collections.abc import Callable, Iterable
from typing import Any


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves of `tree` in order, and a function that builds the same structure around other leaves.

    Tuples, dicts and lists are structure and None an absent branch; a list of plain numbers is an array, hence a leaf.

    >>> leaves, build = flatten({"w": (1, 2), "b": [3, None], "x": [4, 5]})
    >>> leaves
    [1, 2, 3, [4, 5]]
    >>> build("abcd")
    {'w': ('a', 'b'), 'b': ['c', None], 'x': 'd'}
    """
    leaves: list[Any] = []
    _rebuilt(tree, leaves.append)

    def build(values: Iterable[Any]) -> Any:
        rest = iter(values)
        return _rebuilt(tree, lambda _: next(rest))

    return leaves, build


def _rebuilt(tree: Any, f: Callable[[Any], Any]) -> Any:
    if is_a(dict, tree):
        return {key: _rebuilt(branch, f) for key, branch in tree.items()}
    if is_a(tuple, tree) or (is_a(list, tree) and not _is_numbers(tree)):
        parts = [_rebuilt(branch, f) for branch in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return None if tree is None else f(tree)


def _is_numbers(value: Any) -> bool:
    return is_a(list, value) and len(value) > 0 and all(is_a(int, v) or is_a(float, v) or _is_numbers(v) for v in value)


def is_a(kind: Any, value: Any) -> bool:
    """isinstance for the contents of a structure, which no type checker can know and need not narrow."""
    return isinstance(value, kind)
