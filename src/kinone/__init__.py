"""Kinone: deep learning that a person can read, check and replay."""

from kinone import errors, random
from kinone._version import __version__
from kinone.core.check import gradcheck, gradgradcheck
from kinone.core.modes import enable_grad, no_grad
from kinone.core.op import op
from kinone.core.tensor import Tensor
from kinone.core.transforms import grad, gradients, value_and_grad, vjp
from kinone.ops import *
