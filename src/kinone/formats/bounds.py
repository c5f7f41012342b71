"""What an architecture from a file may ask for: not many more numbers than its weights have."""

from collections.abc import Callable
from math import prod
from typing import Any

from kinone import random
from kinone.errors import FormatError

SMALL = 1 << 26
"""First values that a model may always draw where weights may be missing: 256 MB of float32."""

_LONG = 1 << 20
_EXPECTED = "an architecture of about as many numbers as the weights"


class Bounded(random.Stream):
    """The stream of first values, which the file's soon replace: of not many more than the file has."""

    def __init__(self, limit: int, where: str) -> None:
        own = random.stream("init")
        super().__init__("init", own.seed, own.step)
        self._left, self._where = limit, where

    def _draw(self, kernel: Callable[..., Any], shape: Any, step: int | None) -> Any:
        self._left -= prod(shape) if isinstance(shape, tuple) else shape
        if self._left < 0:
            raise FormatError(self._where, _EXPECTED, "many more")
        return super()._draw(kernel, shape, step)


def check_sizes(arch: Any, held: int, where: str, name: str = "") -> None:
    """Refuse lengths that no layer of so many weights has: some layers fill what they are told with zeros or ones."""
    if isinstance(arch, dict | list):
        if name == "normalized_shape" and isinstance(arch, list):
            check_sizes(prod(n for n in arch if type(n) is int), held, where, name)
        for key, part in arch.items() if isinstance(arch, dict) else ((name, part) for part in arch):
            check_sizes(part, held, where, key)
    elif type(arch) is int and arch > max(held, _LONG) and "seed" not in name:
        raise FormatError(where, _EXPECTED, f"{name[:60]}={arch}")
