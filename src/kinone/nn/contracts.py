"""What the parts of a training ask of one another, as Protocols: a class of your own fits in if it has these members.

Nothing has to be inherited. `isinstance(thing, ModuleLike)` says whether the names are there.

>>> from kinone import nn, optim
>>> model = nn.Linear(2, 1)
>>> isinstance(model, ModuleLike), isinstance(optim.SGD(model), OptimizerLike), isinstance(model.weight, ParameterLike)
(True, True, True)
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class TensorLike(Protocol):
    """What a loss must be: numbers with a shape, from which a walk back begins."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        ...

    def item(self) -> Any:
        """The only element, as a number."""
        ...

    def backward(self, *args: Any, **kwargs: Any) -> None:
        """Add the gradients to those of the parameters; takes the cotangent of the result."""
        ...


@runtime_checkable
class ParameterLike(TensorLike, Protocol):
    """What is learned: an array that an optimizer may change, and its gradient (a tensor with `data`, or None)."""

    data: Any
    grad: Any
    requires_grad: Any


@runtime_checkable
class ModuleLike(Protocol):
    """What `fit` trains: a function with parameters and a mode."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The prediction."""
        ...

    def parameters(self) -> Iterable[Any]:
        """What is learned."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Compute as in training, or as in use; says so in `training`."""
        ...


@runtime_checkable
class OptimizerLike(Protocol):
    """What changes the parameters. With `param_groups` (dicts with an "lr") a schedule can steer it."""

    def step(self) -> Any:
        """Change the parameters by their gradients."""
        ...

    def zero_grad(self) -> Any:
        """Forget the gradients."""
        ...


@runtime_checkable
class ScheduleLike(Protocol):
    """What changes learning rates. If `step` takes an argument, it is the metric that the schedule watches."""

    def step(self, *args: Any) -> Any:
        """Go on by one."""
        ...


@runtime_checkable
class StatefulLike(Protocol):
    """What a checkpoint can keep: optimizers, schedules and callbacks that can go on where they stood."""

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> Any:
        """Go on from there."""
        ...


@runtime_checkable
class DatasetLike(Protocol):
    """Samples (x, y) by number."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __getitem__(self, index: int) -> Any:
        """One of them."""
        ...


@runtime_checkable
class MetricLike(Protocol):
    """A figure that is collected batch by batch."""

    @property
    def name(self) -> str:
        """Under which it stands in the history."""
        ...

    def reset(self) -> Any:
        """Begin again."""
        ...

    def update(self, prediction: Any, target: Any) -> Any:
        """Take a batch in: two arrays."""
        ...

    def compute(self) -> float:
        """The figure over all batches since `reset`."""
        ...


@runtime_checkable
class CallbackLike(Protocol):
    """What `fit` tells of its progress: one object (kinone.training.Fit), at each of these moments.

    A callback with some of these hooks fits in too; the others are left out.
    """

    def on_fit_begin(self, fit: Any) -> Any:
        """Before the first epoch; the model is in training mode."""
        ...

    def on_epoch_begin(self, fit: Any) -> Any:
        """Before the first batch of an epoch."""
        ...

    def on_batch_begin(self, fit: Any) -> Any:
        """Before a batch goes through the model."""
        ...

    def on_gradients(self, fit: Any) -> Any:
        """Once all gradients of a step are there, before they are clipped and the optimizer makes the step."""
        ...

    def on_batch_end(self, fit: Any) -> Any:
        """After a batch."""
        ...

    def on_validation_begin(self, fit: Any) -> Any:
        """Before the validation data."""
        ...

    def on_validation_end(self, fit: Any) -> Any:
        """After it."""
        ...

    def on_epoch_end(self, fit: Any) -> Any:
        """After an epoch, its validation included; `fit.logs` has all its figures."""
        ...

    def on_fit_end(self, fit: Any) -> Any:
        """At the end, however it came; `fit.error` is the exception if it was one."""
        ...
