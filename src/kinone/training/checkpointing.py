"""The callback that writes checkpoints: the best, the last, or every so many epochs."""

from pathlib import Path
from typing import Any

from kinone.errors import ArgumentError
from kinone.formats.checkpoint import save_checkpoint
from kinone.training.callbacks import Callback, Monitor


class ModelCheckpoint(Callback):
    """Writes model, optimizer, schedule, random streams and history after an epoch: `load_checkpoint` goes on there.

    With `monitor` only when that figure is better than ever before; else every `every` epochs. A plain `path` always
    holds the newest one. With {epoch} in the name each has a file of its own, of which the newest `keep` stay (all with
    keep=None). A new file is on the disk, whole, before an old one goes.

    `progress` of the checkpoint has "epoch" (for `initial_epoch`), "step", "history" and the states of callbacks.
    """

    def __init__(
        self, path: str | Path, monitor: str | None = None, mode: str | None = None, min_delta: float = 0.0,
        every: int = 1, keep: int | None = 1,
    ) -> None:  # fmt: skip
        for name, value in (("every", every), ("keep", 1 if keep is None else keep)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ArgumentError("ModelCheckpoint", f"{name}, a whole number from 1 on", repr(value))
        self.path, self.every, self.keep = str(path), every, keep
        try:
            self.path.format(epoch=1)
        except (KeyError, IndexError, ValueError):
            raise ArgumentError("ModelCheckpoint", "a path with no other field than {epoch}", repr(self.path)) from None
        self.monitor = None if monitor is None else Monitor("ModelCheckpoint", monitor, mode, min_delta)
        self.written: list[str] = []

    def on_epoch_end(self, fit: Any) -> None:
        epoch = fit.epoch + 1
        if self.monitor is not None:
            if not self.monitor.is_better(self.monitor.value(fit.logs)):
                return
        elif epoch % self.every and not (fit.stopping or epoch == fit.epochs):
            return
        path = self.path.format(epoch=epoch)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            path, model=fit.model, optimizer=fit.optimizer, schedule=fit.schedule, progress=progress_of(fit)
        )
        self.written = [*(old for old in self.written if old != path), path]
        while self.keep is not None and len(self.written) > self.keep:
            Path(self.written.pop(0)).unlink(missing_ok=True)

    def state_dict(self) -> dict[str, Any]:
        """The best figure so far, and the files that are there."""
        return {"best": None if self.monitor is None else self.monitor.best, "written": list(self.written)}

    def load_state_dict(self, state: Any) -> None:
        """Go on from a `state_dict()`."""
        if self.monitor is not None:
            self.monitor.best = state["best"]
        self.written = list(state["written"])


def progress_of(fit: Any) -> dict[str, Any]:
    """What a checkpoint keeps of a fit beside model, optimizer, schedule and streams."""
    states: dict[str, Any] = {}
    for callback in fit.callbacks:
        if hasattr(callback, "state_dict") and hasattr(callback, "load_state_dict"):
            states.setdefault(type(callback).__name__, []).append(callback.state_dict())
    return {"epoch": fit.epoch + 1, "step": fit.step, "history": fit.history.to_dict(), "callbacks": states}
