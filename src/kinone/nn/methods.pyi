"""What `kinone` puts on modules; tests/test_module.py holds it against what is there."""

from collections.abc import Callable, Iterable, Sequence
from os import PathLike
from typing import Any, Self

from kinone.nn.module import Module
from kinone.nn.state import LoadReport
from kinone.nn.summary import Summary
from kinone.training.history import History

class Methods:
    def summary(
        self,
        *inputs: Any,
        depth: int | None = None,
        columns: Sequence[str] = ...,
        batch_size: int | None = None,
        optimizer_states: int = 2,
        **named_inputs: Any,
    ) -> Summary: ...
    def save(self, path: str | PathLike[str]) -> None: ...
    def load(
        self, path: str | PathLike[str], strict: bool = True, *, skip: Sequence[str] = (), prefix: str = ""
    ) -> LoadReport: ...
    def save_json(self, path: str | PathLike[str]) -> None: ...
    @classmethod
    def load_json(
        cls,
        path: str | PathLike[str],
        modules: Iterable[type[Module]] = (),
        strict: bool = True,
        *,
        limit: int | None = None,
    ) -> Self: ...
    def fit(
        self,
        train: Any,
        validation: Any = None,
        *,
        loss: Callable[[Any, Any], Any],
        optimizer: Any,
        epochs: int = 1,
        batch_size: int = 32,
        shuffle: bool = True,
        metrics: Any = (),
        callbacks: Sequence[Any] = (),
        schedule: Any = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        verbose: bool = True,
        initial_epoch: int = 0,
        max_steps: int | None = None,
    ) -> History: ...
    def evaluate(
        self, data: Any, *, loss: Callable[[Any, Any], Any] | None = None, metrics: Any = (), batch_size: int = 32
    ) -> dict[str, float]: ...
    def predict(self, x: Any, batch_size: int = 32) -> Any: ...
    def train_on_batch(
        self,
        x: Any,
        y: Any,
        *,
        loss: Callable[[Any, Any], Any],
        optimizer: Any,
        metrics: Any = (),
        clip_norm: float | None = None,
        clip_value: float | None = None,
    ) -> dict[str, float]: ...
