"""Modules: functions that carry their parameters with them."""

from kinone.nn.module import Input, Module, Parameter

__all__ = ["Input", "Module", "Parameter"]
