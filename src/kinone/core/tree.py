"""Nested tuples, lists and dicts of values: taken apart into leaves and put together again."""

from collections.abc import Callable, Iterable
from typing import Any


def flatten(tree: Any) -> tuple[list[Any], Callable[[Iterable[Any]], Any]]:
    """The leaves of `tree` in order, and a function that builds the same structure around other leaves.

    Tuples (named ones too), dicts and lists are structure, None is an absent branch; all else is a leaf, and so is a
    list of plain numbers, which is an array that somebody typed.

    >>> leaves, build = flatten({"w": (1, 2), "b": [3, None], "x": [4, 5]})
    >>> leaves
    [1, 2, 3, [4, 5]]
    >>> build("abcd")
    {'w': ('a', 'b'), 'b': ['c', None], 'x': 'd'}
    """
    leaves: list[Any] = []
    _collect(tree, leaves)
    return leaves, lambda values: _rebuild(tree, iter(values))


def _is_numbers(value: Any) -> bool:
    parts: list[Any] = value if isinstance(value, list) else []
    return bool(parts) and all(isinstance(part, int | float) or _is_numbers(part) for part in parts)


def _branches(tree: Any) -> list[Any] | None:
    """What hangs below `tree`; None if it is a leaf."""
    if isinstance(tree, dict):
        branches: dict[Any, Any] = tree
        return list(branches.values())
    return list(tree) if isinstance(tree, tuple | list) and not _is_numbers(tree) else None  # pyright: ignore[reportUnknownArgumentType]


def _collect(tree: Any, leaves: list[Any]) -> None:
    branches = _branches(tree)
    if branches is not None:
        for branch in branches:
            _collect(branch, leaves)
    elif tree is not None:
        leaves.append(tree)


def _rebuild(tree: Any, values: Any) -> Any:
    branches = _branches(tree)
    if branches is None:
        return None if tree is None else next(values)
    parts = [_rebuild(branch, values) for branch in branches]
    if isinstance(tree, dict):
        return dict(zip(tree, parts, strict=True))  # pyright: ignore[reportUnknownArgumentType]
    kind: Any = type(tree)
    return kind(*parts) if hasattr(kind, "_fields") else kind(parts)


def tree_map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree whose leaves are f(leaf, …) for the matching leaves of `tree` and `others`.

    >>> tree_map(lambda a, b: a + b, {"w": 1, "b": (2, 3)}, {"w": 10, "b": (20, 30)})
    {'w': 11, 'b': (22, 33)}
    """
    leaves, build = flatten(tree)
    return build([f(*group) for group in zip(leaves, *(flatten(other)[0] for other in others), strict=True)])
