"""Values to hold operators against that have neither a definition nor a NumPy twin: each written independently."""

from typing import Any

import numpy as np

ORACLES: dict[str, Any] = {
    "identity": lambda x: x,
    "reshape": lambda x, shape: np.array(x.ravel().tolist()).reshape(shape),
    "expand": lambda x, shape: x + np.zeros(shape),
    "sum": lambda x, axis=None, keepdims=False: np.sum(x, axis=axis, keepdims=keepdims),
}
