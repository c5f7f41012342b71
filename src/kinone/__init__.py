"""Kinone: deep learning that a person can read, check and replay."""

import warnings as _warnings

from numpy import (
    bool_,
    e,
    float16,
    float32,
    float64,
    inf,
    int8,
    int16,
    int32,
    int64,
    nan,
    newaxis,
    pi,
    uint8,
    uint16,
    uint32,
    uint64,
)

from kinone import errors, formats, models, nn, optim, random, training
from kinone._version import __version__
from kinone.core.check import gradcheck, gradgradcheck
from kinone.core.modes import enable_grad, no_grad
from kinone.core.op import op
from kinone.core.tensor import Tensor
from kinone.core.transforms import grad, gradients, value_and_grad, vjp
from kinone.inspection import Recording, detect_anomaly, profile, record
from kinone.nn.methods import Methods as _Methods
from kinone.ops import *

for _name, _method in (formats.METHODS | training.METHODS).items():
    setattr(_Methods, _name, _method)

# Infinity and NaN are values: they pass through as in every framework of this kind, forward as backward, whatever
# kernel computes them. `detect_anomaly` finds where one arises; NumPy's own warnings would only name our source.
_warnings.filterwarnings("ignore", category=RuntimeWarning, module=r"kinone\.(core|ops|kernels)\.")
