"""The precision that kernels compute in."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def widened(x: Any) -> NDArray[Any]:
    """x as an array, float16 as float32: half precision is for storage, and sums in it lose half their digits.

    >>> widened(np.ones(1, np.float16)).dtype, widened(np.ones(1)).dtype
    (dtype('float32'), dtype('float64'))
    """
    x = np.asarray(x)
    return x.astype(np.float32) if x.dtype == np.float16 else x
