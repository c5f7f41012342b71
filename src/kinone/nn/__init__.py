"""Modules: functions that carry their parameters with them."""

from kinone.nn import initialize
from kinone.nn.architecture import build, described, kinds_in, register, registered
from kinone.nn.linear import Identity, Linear
from kinone.nn.methods import Methods
from kinone.nn.module import Input, Module
from kinone.nn.parameter import Parameter
from kinone.nn.recurrent import GRU, LSTM, RNN, GRUCell, LSTMCell, RNNCell
from kinone.nn.sequence import truncated
from kinone.nn.state import LoadReport
from kinone.nn.summary import Summary, summary

__all__ = [
    "GRU", "LSTM", "MODULES", "RNN", "GRUCell", "Identity", "Input", "LSTMCell", "Linear", "LoadReport", "Module",
    "Parameter", "RNNCell", "Summary", "build", "described", "initialize", "kinds_in", "register", "registered",
    "truncated",
]  # fmt: skip

setattr(Methods, "summary", summary)  # noqa: B010 - here, because it knows modules

MODULES = kinds_in(
    value
    for name, value in list(globals().items())
    if name in __all__ and isinstance(value, type) and issubclass(value, Module) and value is not Module
)
"""The layers by name: what a checkpoint may be made of."""
