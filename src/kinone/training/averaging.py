"""The callback that averages weights while the model trains."""

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from kinone.errors import ArgumentError
from kinone.optim.average import WeightAverage
from kinone.training.callbacks import Callback


class AverageWeights(Callback):
    """Averages the weights after every "batch" (each step) or "epoch", exponentially with `decay`, or all (SWA).

    It begins with epoch number `start`. Validation looks at the averages if `validates`, and the model has them at the
    end if `is_final`. Batch norm's statistics are the model's own: `optim.update_batch_norm` computes them anew.
    """

    def __init__(
        self, decay: float | None = 0.999, *, every: str = "batch", start: int = 1, use_buffers: bool = False,
        validates: bool = True, is_final: bool = True,
    ) -> None:  # fmt: skip
        if every not in ("batch", "epoch"):
            raise ArgumentError("AverageWeights", "every 'batch' or 'epoch'", repr(every))
        self.decay, self.every, self.start, self.use_buffers = decay, every, start, use_buffers
        self.validates, self.is_final = validates, is_final
        self.average: WeightAverage | None = None
        self._waiting: Mapping[str, Any] | None = None  # a state that was loaded before the model was known
        self._step = 0
        self._applied = ExitStack()

    def on_fit_begin(self, fit: Any) -> None:
        self._step = 0
        self._applied = ExitStack()
        if self.average is None or self.average.model is not fit.model:
            self.average = WeightAverage(fit.model, self.decay, self.use_buffers)
        if self._waiting is not None:
            self.average.load_state_dict(self._waiting)
            self._waiting = None

    def on_batch_end(self, fit: Any) -> None:
        if self.every == "batch" and fit.step > self._step:
            self._step = fit.step
            self._update(fit)

    def on_validation_begin(self, fit: Any) -> None:
        if self.every == "epoch":
            self._update(fit)
        if self.validates and self.average is not None:
            self._applied.enter_context(self.average.applied())

    def on_validation_end(self, fit: Any) -> None:
        self._applied.close()

    def on_epoch_end(self, fit: Any) -> None:
        if self.every == "epoch" and not fit.has_validation:
            self._update(fit)

    def on_fit_end(self, fit: Any) -> None:
        self._applied.close()
        if self.is_final and fit.error is None and self.average is not None and self.average.count:
            self.average.copy_to()

    def _update(self, fit: Any) -> None:
        if self.average is not None and fit.epoch + 1 >= self.start:
            self.average.update()

    def state_dict(self) -> dict[str, Any]:
        """The averages, for a checkpoint."""
        return {"count": 0, "averages": {}} if self.average is None else self.average.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict()` in the next fit."""
        self._waiting = state
