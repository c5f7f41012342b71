"""Modules: functions that carry their parameters with them."""

from kinone.nn.module import Input, Module
from kinone.nn.parameter import Parameter

__all__ = ["Input", "Module", "Parameter"]
