"""An image with large and small things in it, as levels and as values, and a stream to change it by."""

from typing import Any

import numpy as np

from kinone.random import Stream


def film(rows: int = 40, columns: int = 48, seed: int = 0) -> Any:
    """Levels with large and small things in them."""
    grain = Stream("grain", seed).integers((rows, columns), low=0, high=32)
    waves = np.add.outer((np.arange(rows) - rows // 2) ** 2 % 113, np.arange(columns) * 3 % 107)
    return (waves + grain).astype(np.uint8)[None]


LEVELS = film()
VALUES = LEVELS.astype(np.float32) / np.float32(255)


def stream(seed: int = 0) -> Stream:
    return Stream("augment/0/0", seed)
