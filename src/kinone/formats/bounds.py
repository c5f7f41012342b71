"""What an architecture from a file may ask for: not many more numbers than its weights have."""

from collections.abc import Callable
from math import prod
from typing import Any

from kinone import random
from kinone.errors import FormatError

SMALL = 1 << 26
"""Numbers that a model may always have: 256 MB of float32."""


class Bounded(random.Stream):
    """The stream of first values, which the file's soon replace: of not many more than the file has."""

    def __init__(self, limit: int, where: str) -> None:
        super().__init__("init")
        self._left, self._where = limit, where

    def _draw(self, kernel: Callable[..., Any], shape: Any, step: int | None) -> Any:
        self._left -= prod(shape) if isinstance(shape, tuple) else shape
        if self._left < 0:
            raise FormatError(self._where, "an architecture of about as many numbers as the weights", "many more")
        return super()._draw(kernel, shape, step)


def check_sizes(arch: Any, limit: int, where: str) -> None:
    """Refuse lengths that no layer of these weights has: some layers fill what they are told with zeros or ones."""
    if isinstance(arch, list):
        lengths = [part for part in arch if type(part) is int and part > 1]
        if prod(lengths) > limit:
            raise FormatError(where, "an architecture of about as many numbers as the weights", f"{lengths[:8]}")
    for name, part in arch.items() if isinstance(arch, dict) else enumerate(arch):
        if isinstance(part, dict | list):
            check_sizes(part, limit, where)
        elif type(part) is int and part > limit and "seed" not in str(name):
            raise FormatError(where, "an architecture of about as many numbers as the weights", f"{name}={part}")
