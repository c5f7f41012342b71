"""First values of parameters, drawn from the process-wide stream "init" or from one that is handed in."""

from math import sqrt
from typing import Any

from kinone.random import Stream, stream

Shape = tuple[int, ...]


def fan_in_uniform(shape: Shape, fan_in: int, source: Stream | None = None) -> Any:
    """Uniform between ±1/√fan_in: what PyTorch's layers begin with; 0 where nothing comes in."""
    bound = 1 / sqrt(fan_in) if fan_in > 0 else 0.0
    return (source or stream("init")).uniform(shape, low=-bound, high=bound)
