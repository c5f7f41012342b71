"""Callbacks that write the figures of a fit elsewhere: a CSV file, TensorBoard, MLflow."""

import csv
from collections.abc import Mapping
from importlib import import_module
from math import isfinite
from pathlib import Path
from typing import Any

from kinone.errors import ArgumentError, MissingExtraError
from kinone.training.callbacks import Callback


class CSVLogger(Callback):
    """A line of figures after each epoch, flushed at once. With `append` it goes on with a file of the same figures."""

    def __init__(self, path: str | Path, append: bool = False) -> None:
        self.path, self.append = Path(path), append
        self._file: Any = None
        self._names: list[str] = []

    def on_fit_begin(self, fit: Any) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._names = []
        if self.append and self.path.exists():
            with self.path.open(newline="", encoding="utf-8") as file:
                self._names = next(csv.reader(file), [])[1:]
        self._file = self.path.open("a" if self._names else "w", newline="", encoding="utf-8")

    def on_epoch_end(self, fit: Any) -> None:
        writer = csv.writer(self._file, lineterminator="\n")
        if not self._names:
            self._names = list(fit.logs)
            writer.writerow(["epoch", *self._names])
        if set(self._names) != set(fit.logs):
            got = ", ".join(fit.logs)
            raise ArgumentError("CSVLogger", f"the figures of {self.path.name} ({', '.join(self._names)})", got)
        writer.writerow([fit.epoch + 1, *(repr(fit.logs[name]) for name in self._names)])
        self._file.flush()

    def on_fit_end(self, fit: Any) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class TensorBoard(Callback):
    """Figures of each epoch for TensorBoard, training and validation in one chart, and the loss every so many steps.

    Needs the extra `tensorboard` (tensorboardX); `tensorboard --logdir FOLDER` shows them.
    """

    def __init__(self, folder: str | Path, every_steps: int = 10) -> None:
        if not isinstance(every_steps, int) or isinstance(every_steps, bool) or every_steps < 1:
            raise ArgumentError("TensorBoard", "every_steps, a whole number from 1 on", repr(every_steps))
        self.folder, self.every_steps = str(folder), every_steps
        self._kind = _extra("tensorboardX", "tensorboard").SummaryWriter
        self._writer: Any = None

    def on_fit_begin(self, fit: Any) -> None:
        self._writer = self._kind(self.folder)

    def on_batch_end(self, fit: Any) -> None:
        if fit.step % self.every_steps == 0:
            self._writer.add_scalar("loss by step", fit.loss, fit.step)

    def on_epoch_end(self, fit: Any) -> None:
        for name, value in fit.logs.items():
            part = "validation" if name.startswith("val_") else "training"
            self._writer.add_scalar(f"{name.removeprefix('val_')}/{part}", value, fit.epoch + 1)
        self._writer.flush()

    def on_fit_end(self, fit: Any) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class MLflow(Callback):
    """A run of MLflow: options of the optimizer and of the fit as parameters, figures of each epoch as metrics.

    Needs the extra `mlflow` (mlflow-skinny). `uri` says where runs are kept (a server or database; else as MLflow is
    set up), `params` are further parameters of this run. A run that is active already is used, and left open.
    """

    def __init__(
        self, experiment: str | None = None, run_name: str | None = None, uri: str | None = None,
        params: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self._mlflow = _extra("mlflow", "mlflow")
        self.experiment, self.run_name, self.uri, self.params = experiment, run_name, uri, dict(params or {})
        self.run_id = ""
        self._owns = False

    def on_fit_begin(self, fit: Any) -> None:
        if self.uri is not None:
            self._mlflow.set_tracking_uri(self.uri)
        if self.experiment is not None:
            self._mlflow.set_experiment(self.experiment)
        active = self._mlflow.active_run()
        self._owns = active is None
        run = self._mlflow.start_run(run_name=self.run_name) if active is None else active
        self.run_id = run.info.run_id
        groups = getattr(fit.optimizer, "param_groups", [])
        options = {f"optimizer.{k}": v for k, v in groups[0].items() if k != "params"} if len(groups) == 1 else {}
        settings = {"model": type(fit.model).__name__, "optimizer": type(fit.optimizer).__name__, "epochs": fit.epochs}
        self._mlflow.log_params({**settings, **options, **self.params})

    def on_epoch_end(self, fit: Any) -> None:
        figures = {name: float(value) for name, value in fit.logs.items() if isfinite(value)}
        self._mlflow.log_metrics(figures, step=fit.epoch + 1)

    def on_fit_end(self, fit: Any) -> None:
        if self._owns and self.run_id:
            self._mlflow.end_run("FAILED" if fit.error is not None else "KILLED" if fit.is_at_once else "FINISHED")
            self._owns = False


def _extra(module: str, extra: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        hint = f"pip install 'kinone[{extra}]'"
        raise MissingExtraError(extra, f"the package {module}", "none", hint=hint) from None
