"""Optimizers: what turns gradients into steps."""

from kinone.optim.adam import Adam, AdamW, NAdam
from kinone.optim.descent import SGD, Adagrad, Lion, RMSProp, RMSprop
from kinone.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Lion", "NAdam", "Optimizer", "RMSProp", "RMSprop"]
