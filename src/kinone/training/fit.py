"""fit: the loop that trains a model, and the object that tells callbacks where it stands."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from kinone.errors import ArgumentError
from kinone.nn.contracts import ModuleLike, OptimizerLike
from kinone.training.batches import Batch, Source, source_of
from kinone.training.callbacks import callbacks_of, called
from kinone.training.evaluation import figures
from kinone.training.history import History
from kinone.training.interrupt import deferred_interrupts
from kinone.training.metrics import metrics_of
from kinone.training.progress import Progress
from kinone.training.schedules import Scheduling
from kinone.training.step import Mean, Step, modes_kept


class Fit:
    """Where a fit stands. Callbacks read it, and may call `stop`.

    `epoch` and `batch` count from 0, `step` counts the optimizer's steps made so far in this fit. `loss` is that of the
    last batch, `logs` the figures of this epoch so far (after validation with val_…), `history` those of the epochs
    before; `batches` is the number of batches in an epoch, `samples` that of samples, None where it is not known.
    """

    def __init__(self, model: Any, optimizer: Any, *, epochs: int, initial_epoch: int = 0) -> None:
        self.model, self.optimizer = model, optimizer
        self.epochs, self.initial_epoch = epochs, initial_epoch
        self.epoch, self.batch, self.step = initial_epoch, 0, 0
        self.batches: int | None = None
        self.samples: int | None = None
        self.samples_seen = 0  # in this epoch
        self.loss = float("nan")
        self.logs: dict[str, float] = {}
        self.history = History()
        self.has_validation = False
        self.callbacks: tuple[Any, ...] = ()
        self.error: BaseException | None = None
        self.stopping = ""
        self.is_at_once = False

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """End the fit after this batch, validation and epoch end included; `at_once` without them and its step."""
        if not self.stopping:
            self.stopping = reason
        self.is_at_once = self.is_at_once or at_once

    @property
    def schedule(self) -> Any:
        """The schedule that steps in this fit, if there is one."""
        return next((c.schedule for c in self.callbacks if isinstance(c, Scheduling)), None)

    def learning_rates(self) -> list[float]:
        """Those of the optimizer's groups; none where it has no groups."""
        return [group["lr"] for group in getattr(self.optimizer, "param_groups", ()) if "lr" in group]


def fit(
    model: Any, train: Any, validation: Any = None, *, loss: Callable[[Any, Any], Any], optimizer: Any,
    epochs: int = 1, batch_size: int = 32, shuffle: bool = True, metrics: Any = (), callbacks: Sequence[Any] = (),
    schedule: Any = None, clip_norm: float | None = None, clip_value: float | None = None, accumulate: int = 1,
    verbose: bool = True, initial_epoch: int = 0, max_steps: int | None = None,
) -> History:  # fmt: skip
    """For each batch (x, y) of each epoch: loss(model(x), y), its gradients, and a step of the optimizer.

    `train` and `validation` are (x, y) arrays, a data set of samples (x, y), a re-iterable of batches (x, y), or a
    function that makes an iterator of batches. Arrays and data sets are shuffled by the stream "shuffle": the order of
    epoch e depends on the seed and on e alone, so `initial_epoch=e` after loading a checkpoint goes on with the bits of
    the uninterrupted fit.

    `schedule` steps after each epoch, or batch if its `every` says so. Callbacks are called after it, in their order.
    Gradients are clipped by value, then by the norm
    of all of them. With `accumulate`, one step has the mean gradient over the samples of so many batches. `max_steps`
    ends after so many steps. Ctrl-C ends after the batch at hand. Either way the history so far comes back, and the
    model is left in the mode that it had.

    >>> import numpy as np, kinone as kn
    >>> from kinone import nn, optim
    >>> kn.random.seed(0)
    >>> x = np.linspace(-1, 1, 32, dtype=np.float32)[:, None]
    >>> model = nn.Linear(1, 1)
    >>> history = fit(model, (x, 2 * x + 1), loss=lambda p, y: ((p - y) ** 2).mean(),
    ...               optimizer=optim.SGD(model, lr=0.5), epochs=20, batch_size=8, verbose=False)
    >>> np.round([model.weight.item(), model.bias.item()], 3).tolist(), len(history)
    ([2.0, 1.0], 20)
    """
    where = "fit"
    _check(model, optimizer, loss)
    counts = {"epochs": (epochs, 1), "accumulate": (accumulate, 1), "initial_epoch": (initial_epoch, 0)}
    if max_steps is not None:
        counts["max_steps"] = (max_steps, 1)
    for name, (value, least) in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise ArgumentError(where, f"{name}, a whole number from {least} on", repr(value))
    if initial_epoch >= epochs:
        hint = "epochs is the number of the last epoch, those before initial_epoch included."
        raise ArgumentError(where, f"epochs above initial_epoch={initial_epoch}", str(epochs), hint=hint)
    left = epochs - initial_epoch
    source = source_of(where, train, batch_size=batch_size, shuffle=shuffle, epochs=left)
    held_out = None
    if validation is not None:
        held_out = source_of(f"{where} (validation)", validation, batch_size=batch_size, epochs=left)
    step = Step(model, loss, optimizer, clip_norm=clip_norm, clip_value=clip_value, metrics=metrics_of(where, metrics))
    run = Fit(model, optimizer, epochs=epochs, initial_epoch=initial_epoch)
    run.batches, run.samples, run.has_validation = source.count, source.size, held_out is not None
    hooks = [*([] if schedule is None else [Scheduling(schedule)]), *callbacks_of(where, callbacks)]
    run.callbacks = tuple(hooks)
    if verbose:
        hooks.append(Progress())
    with modes_kept(model), deferred_interrupts(run), _ended(run, hooks):
        model.train(True)
        called(hooks, "on_fit_begin", run)
        for run.epoch in range(initial_epoch, epochs):
            if run.stopping:
                break
            begun = time.perf_counter()
            _epoch(run, step, _marked(source, run.epoch, accumulate), hooks, accumulate, max_steps)
            if run.is_at_once or not run.batch:
                break
            if held_out is not None:
                called(hooks, "on_validation_begin", run)
                found = figures(model, held_out.epoch(run.epoch), loss, step.metrics)
                run.logs.update((f"val_{name}", value) for name, value in found.items())
                called(hooks, "on_validation_end", run)
            if rates := run.learning_rates():
                run.logs["lr"] = rates[0]
            run.logs["seconds"] = time.perf_counter() - begun
            run.history.add(run.epoch + 1, run.logs)
            called(hooks, "on_epoch_end", run)
    return run.history


def _check(model: Any, optimizer: Any, loss: Any) -> None:
    if not isinstance(model, ModuleLike):
        hint = "a class of your own needs these three; see kinone.nn.contracts."
        raise ArgumentError(
            "fit", "a model with __call__, parameters() and train()", f"a {type(model).__name__}", hint=hint
        )
    if not isinstance(optimizer, OptimizerLike) or isinstance(optimizer, type):
        got = f"the class {optimizer.__name__}" if isinstance(optimizer, type) else f"a {type(optimizer).__name__}"
        hint = "optim.Adam(model) makes one."
        raise ArgumentError("fit", "an optimizer with step() and zero_grad()", got, hint=hint)
    if not callable(loss) or isinstance(loss, type):
        got = f"the class {loss.__name__}" if isinstance(loss, type) else f"a {type(loss).__name__}"
        raise ArgumentError("fit", "a loss that is called with (prediction, target)", got)


def _marked(source: Source, epoch: int, accumulate: int) -> Iterator[tuple[Batch, bool]]:
    """Each batch, and whether it is the epoch's last; no loader is asked ahead where that does not matter."""
    batches = source.epoch(epoch)
    if accumulate == 1 or source.count is not None:
        for i, batch in enumerate(batches, 1):
            yield batch, i == source.count
        return
    batch = next(batches)
    for following in batches:
        yield batch, False
        batch = following
    yield batch, True


def _epoch(
    run: Fit, step: Step, batches: Iterator[tuple[Batch, bool]], hooks: list[Any], accumulate: int,
    max_steps: int | None,
) -> None:  # fmt: skip
    run.logs, run.batch, run.samples_seen = {}, 0, 0
    step.begin()
    called(hooks, "on_epoch_begin", run)
    mean = Mean()
    for batch, is_last in batches:
        if run.stopping:
            break
        called(hooks, "on_batch_begin", run)
        run.loss = step.gradients(batch)
        mean.add(run.loss, batch.size)
        run.batch, run.samples_seen = run.batch + 1, run.samples_seen + batch.size
        if run.batch % accumulate == 0 or is_last:
            called(hooks, "on_gradients", run)
            if run.is_at_once:
                return
            step.apply()
            run.step += 1
            if run.step == max_steps:
                run.stop(f"max_steps={max_steps} are made")
        run.history.losses.append(run.loss)
        run.logs = {"loss": mean.value, **step.figures(is_over=False)}
        called(hooks, "on_batch_end", run)
        if run.stopping:  # here, so that no loader is asked for a batch that nobody wants
            break
    run.logs = {"loss": mean.value, **step.figures(is_over=True)}


@contextmanager
def _ended(run: Fit, hooks: list[Any]) -> Iterator[None]:
    """on_fit_end comes in any case; an interrupt that could not wait ends the fit like one that could."""
    try:
        yield
    except KeyboardInterrupt:
        run.stop("interrupted", at_once=True)
    except BaseException as error:
        run.error = error
        raise
    finally:
        run.history.stopped = run.stopping
        faults: list[Exception] = []
        for hook in hooks:  # each closes what it has opened, whatever became of the others
            try:
                called([hook], "on_fit_end", run)
            except Exception as fault:  # noqa: BLE001
                faults.append(fault)
        if faults and run.error is None:
            raise faults[0]
