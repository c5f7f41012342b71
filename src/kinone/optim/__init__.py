"""Optimizers and schedules: what turns gradients into steps, and how long the steps are."""

from kinone.optim.adam import Adam, AdamW, NAdam
from kinone.optim.average import WeightAverage, update_batch_norm
from kinone.optim.clip import clip_factor, clip_grad_norm_, clip_grad_value_, global_norm
from kinone.optim.decay import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LinearLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    StepLR,
)
from kinone.optim.descent import SGD, Adagrad, Lion, RMSProp, RMSprop
from kinone.optim.optimizer import Optimizer
from kinone.optim.plateau import ReduceLROnPlateau
from kinone.optim.schedule import LambdaLR, Schedule
from kinone.optim.sequence import SequentialLR, WarmUp

__all__ = [
    "SGD", "Adagrad", "Adam", "AdamW", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts",
    "ExponentialLR", "LambdaLR", "LinearLR", "Lion", "MultiStepLR", "NAdam", "OneCycleLR", "Optimizer", "PolynomialLR",
    "RMSProp", "RMSprop", "ReduceLROnPlateau", "Schedule", "SequentialLR", "StepLR", "WarmUp", "WeightAverage",
    "clip_factor", "clip_grad_norm_", "clip_grad_value_", "global_norm", "update_batch_norm",
]  # fmt: skip
