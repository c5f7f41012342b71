"""fit: bits that depend on (seed, epoch) alone, what it does with gradients and schedules, and how it ends."""

import os
import signal
import threading
from typing import Any

import numpy as np
import pytest

import kinone as kn
from fit_samples import Net, X, Y, bits, fitted, mse, net
from kinone import nn, optim, training
from kinone.errors import ArgumentError, ShapeError


class Seen(training.Callback):
    """Every hook with where it came, and the batches that the model saw."""

    def __init__(self) -> None:
        self.hooks: list[str] = []
        self.losses: list[float] = []

    def on_fit_begin(self, fit: Any) -> None:
        self.hooks.append("fit begin")

    def on_epoch_begin(self, fit: Any) -> None:
        self.hooks.append(f"epoch {fit.epoch}")

    def on_batch_begin(self, fit: Any) -> None:
        self.hooks.append(f"batch {fit.batch}")

    def on_gradients(self, fit: Any) -> None:
        self.hooks.append(f"gradients for step {fit.step}")

    def on_batch_end(self, fit: Any) -> None:
        self.hooks.append(f"done {fit.batch}, {fit.step} steps")
        self.losses.append(fit.loss)

    def on_validation_begin(self, fit: Any) -> None:
        self.hooks.append("validation")

    def on_validation_end(self, fit: Any) -> None:
        self.hooks.append(f"validated {sorted(fit.logs)}")

    def on_epoch_end(self, fit: Any) -> None:
        self.hooks.append(f"epoch {fit.epoch} over")

    def on_fit_end(self, fit: Any) -> None:
        self.hooks.append("fit end")


# ------------------------------------------------------------------------------ what it computes
def test_it_learns_and_says_so():
    model = net()
    history = fitted(model, validation=(X, Y), epochs=60, metrics=["mae"])
    assert history["loss"][-1] < 0.1 * history["loss"][0]
    assert history["val_loss"][-1] < 0.2
    assert list(history.logs) == ["loss", "mae", "val_loss", "val_mae", "lr", "seconds"]
    assert history.epochs == list(range(1, 61)) and len(history.losses) == 60 * 5
    assert history["lr"] == [0.02] * 60 and history.stopped == ""


def test_the_loop_is_the_one_that_everybody_would_write():
    one, two = net(), net()
    fitted(one, epochs=3, optimizer=optim.SGD(one, lr=0.05, momentum=0.9))
    kn.random.seed(1)
    Net()  # the streams stand where they stood after the first
    optimizer = optim.SGD(two, lr=0.05, momentum=0.9)
    two.train()
    for epoch in range(3):
        order = kn.random.stream("shuffle").permutation(37, step=epoch)
        for start in range(0, 37, 8):
            rows = order[start : start + 8]
            optimizer.zero_grad()
            mse(two(X[rows]), Y[rows]).backward()
            optimizer.step()
    assert bits(one) == bits(two)


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    runs = []
    for seed in (1, 1, 2):
        model = net(1)
        kn.random.seed(seed)
        fitted(model, epochs=2)
        runs.append(bits(model))
    assert runs[0] == runs[1] != runs[2]


def test_going_on_at_an_epoch_gives_the_bits_of_the_whole_run(tmp_path):
    """Dropout, batch norm, Adam, a schedule and shuffling: all of it comes back."""
    from kinone.formats import load_checkpoint

    def parts() -> Any:
        model = net()
        optimizer = optim.Adam(model, lr=0.02)
        return model, optimizer, optim.CosineAnnealingLR(optimizer, T_max=6)

    whole, optimizer, schedule = parts()
    history = fitted(whole, epochs=6, optimizer=optimizer, schedule=schedule)
    first, optimizer, schedule = parts()
    save = training.ModelCheckpoint(tmp_path / "last.safetensors")
    fitted(first, epochs=4, optimizer=optimizer, schedule=schedule, callbacks=[save])
    kn.random.seed(99)
    second, optimizer, schedule = Net(), None, None
    optimizer = optim.Adam(second, lr=0.5)
    schedule = optim.CosineAnnealingLR(optimizer, T_max=6)
    found = load_checkpoint(tmp_path / "last.safetensors", model=second, optimizer=optimizer, schedule=schedule)
    again = fitted(second, epochs=6, optimizer=optimizer, schedule=schedule, initial_epoch=found.progress["epoch"])
    assert bits(second) == bits(whole)
    assert again.epochs == [5, 6] and again["loss"] == history["loss"][4:] and again["lr"] == history["lr"][4:]
    assert training.History.from_dict(found.progress["history"])["loss"] == history["loss"][:4]


def test_accumulated_gradients_are_those_of_the_whole():
    """12 samples in batches of 5, 5 and 2: exactly the mean over 12, though the last batch is smaller."""
    one, two = (nn.Linear(3, 1).double() for _ in range(2))
    two.load_state_dict(one.state_dict())
    x, y = X[:12].astype(np.float64), Y[:12].astype(np.float64)
    for model, size, accumulate in ((one, 12, 1), (two, 5, 3)):
        fitted(model, (x, y), epochs=4, batch_size=size, shuffle=False, accumulate=accumulate, clip_norm=0.5,
               clip_value=0.4, optimizer=optim.SGD(model, lr=0.1))  # fmt: skip
    np.testing.assert_allclose(one.weight.data, two.weight.data, rtol=1e-12)
    np.testing.assert_allclose(one.bias.data, two.bias.data, rtol=1e-12)


def test_accumulation_ends_with_the_epoch():
    for data in ((X[:20], Y[:20]), lambda: ((X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8))):
        seen = Seen()
        fitted(net(), data, epochs=2, accumulate=2, callbacks=[seen])
        assert [h for h in seen.hooks if h.startswith("done")] == [
            "done 1, 0 steps", "done 2, 1 steps", "done 3, 2 steps", "done 1, 2 steps",
            "done 2, 3 steps", "done 3, 4 steps",
        ]  # fmt: skip


def test_the_gradients_of_a_summed_loss_are_added_up():
    class SSE:
        reduction = "sum"

        def __call__(self, p: Any, y: Any) -> Any:
            return ((p - y) ** 2).sum()

    one, two = (nn.Linear(3, 1).double() for _ in range(2))
    two.load_state_dict(one.state_dict())
    x, y = X[:12].astype(np.float64), Y[:12].astype(np.float64)
    for model, size, accumulate in ((one, 12, 1), (two, 5, 3)):
        fitted(model, (x, y), batch_size=size, shuffle=False, accumulate=accumulate, loss=SSE(),
               optimizer=optim.SGD(model, lr=0.01))  # fmt: skip
    np.testing.assert_allclose(one.weight.data, two.weight.data, rtol=1e-12)


def test_clipping_bounds_the_step():
    model = nn.Linear(3, 1)
    before = np.concatenate([p.data.ravel() for p in model.parameters()])
    fitted(model, (X, 1000 * Y), batch_size=37, clip_norm=0.25, optimizer=optim.SGD(model, lr=1.0))
    after = np.concatenate([p.data.ravel() for p in model.parameters()])
    assert np.linalg.norm(after - before) == pytest.approx(0.25, rel=1e-4)
    fitted(model, (X, 1000 * Y), batch_size=37, clip_value=0.125, optimizer=optim.SGD(model, lr=1.0))
    moved = np.concatenate([p.data.ravel() for p in model.parameters()]) - after
    np.testing.assert_allclose(np.abs(moved), 0.125, rtol=1e-5)


def test_the_mode_of_every_module_is_left_as_it_was():
    model = net().eval()
    model.drop.train()
    modes: list[Any] = []

    class Watch(training.Callback):
        def on_batch_end(self, fit: Any) -> None:
            modes.append([m.training for m in fit.model.modules()])

        def on_validation_begin(self, fit: Any) -> None:
            fit.model.norm.eval()  # a choice of the user's, which validation must not undo

    fitted(model, epochs=2, validation=(X, Y), callbacks=[Watch()])
    assert modes[0] == [True] * 5 and modes[-1] == [True, True, False, True, True]
    assert [m.training for m in model.modules()] == [False, False, False, True, False]
    with pytest.raises(ShapeError):
        fitted(model, (X[:, :2], Y))
    assert [m.training for m in model.modules()] == [False, False, False, True, False]


def test_max_steps_ends_in_the_middle_with_all_that_an_end_has():
    seen = Seen()
    history = fitted(net(), epochs=9, validation=(X, Y), max_steps=7, callbacks=[seen])
    assert history.epochs == [1, 2] and history.stopped == "max_steps=7 are made"
    assert seen.hooks[-5:] == [
        "done 2, 7 steps",
        "validation",
        "validated ['loss', 'val_loss']",
        "epoch 1 over",
        "fit end",
    ]


def test_hooks_come_in_order():
    seen = Seen()
    fitted(net(), (X[:10], Y[:10]), validation=(X, Y), callbacks=[seen])
    assert seen.hooks == [
        "fit begin", "epoch 0", "batch 0", "gradients for step 0", "done 1, 1 steps", "batch 1", "gradients for step 1",
        "done 2, 2 steps", "validation", "validated ['loss', 'val_loss']", "epoch 0 over", "fit end",
    ]  # fmt: skip


def test_a_schedule_comes_before_callbacks_and_they_before_one_another_in_order():
    model = net()
    optimizer = optim.SGD(model, lr=0.1)
    order: list[Any] = []
    calls = [
        lambda fit: order.append(("first", fit.optimizer.param_groups[0]["lr"])),
        lambda fit: order.append("second"),
    ]
    fitted(model, optimizer=optimizer, schedule=optim.ExponentialLR(optimizer, 0.5), callbacks=calls)
    assert order == [("first", 0.05), "second"]


# ------------------------------------------------------------------------------ schedules
def test_a_schedule_steps_when_it_says():
    model = net()
    optimizer = optim.SGD(model, lr=0.1, momentum=0.9)
    schedule = optim.OneCycleLR(optimizer, 0.1, total_steps=15)
    fitted(model, epochs=3, optimizer=optimizer, schedule=schedule)
    assert schedule.last_epoch == 15
    for every, last in (("batch", 4), ("epoch", 2)):
        schedule = optim.StepLR(optimizer, 2)
        fitted(model, epochs=2, optimizer=optimizer, accumulate=3, callbacks=[training.Scheduling(schedule, every)])
        assert schedule.last_epoch == last


def test_a_plateau_watches_the_validation():
    model = net()
    optimizer = optim.SGD(model, lr=1.0)
    schedule = optim.ReduceLROnPlateau(optimizer, patience=0)
    history = fitted(model, epochs=3, validation=(X, Y), optimizer=optimizer, schedule=schedule)
    assert schedule.best == min(history["val_loss"])
    other = training.Scheduling(optim.ReduceLROnPlateau(optimizer), monitor="accuracy")
    with pytest.raises(ArgumentError, match="a figure to watch among loss, lr, seconds, got 'accuracy'"):
        fitted(model, optimizer=optimizer, callbacks=[other])


# ------------------------------------------------------------------------------ ends
def test_ctrl_c_ends_with_the_history_so_far():
    model = net()
    whole: list[Any] = []

    class Press(training.Callback):
        def on_batch_begin(self, fit: Any) -> None:
            if (fit.epoch, fit.batch) == (2, 3):
                os.kill(os.getpid(), signal.SIGINT)
                whole.append(bits(fit.model))

    seen = Seen()
    before = signal.getsignal(signal.SIGINT)
    history = fitted(model, epochs=50, callbacks=[Press(), seen])
    assert history.epochs == [1, 2] and len(history.losses) == 13
    assert history.stopped == "interrupted in epoch 3 after 3 batches"
    assert seen.hooks[-1] == "fit end" and seen.hooks[-2] != "epoch 2 over"
    assert signal.getsignal(signal.SIGINT) is before
    assert [p.data.tobytes() for p in model.parameters()] == [
        b for b, (name, _) in zip(whole[0], model.state_dict().items(), strict=True) if "running" not in name
        and "num_batches" not in name]  # fmt: skip


def test_an_interrupt_that_cannot_wait_ends_it_too():
    class Press(training.Callback):
        def on_batch_end(self, fit: Any) -> None:
            if fit.epoch == 1:
                raise KeyboardInterrupt

    history = fitted(net(), epochs=5, callbacks=[Press()])
    assert history.epochs == [1] and history.stopped == "interrupted"


def test_it_runs_in_a_thread_where_no_signals_come():
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(fitted(net(), epochs=2)))
    thread.start()
    thread.join()
    assert len(found[0]) == 2


def test_callbacks_end_well_even_if_the_fit_does_not():
    seen, errors = Seen(), []

    class Broken(training.Callback):
        def on_epoch_end(self, fit: Any) -> None:
            raise ValueError("disk full")

        def on_fit_end(self, fit: Any) -> None:
            errors.append(fit.error)
            raise OSError("this one too")

    with pytest.raises(ValueError, match="disk full"):
        fitted(net(), callbacks=[Broken(), seen])
    assert seen.hooks[-1] == "fit end" and isinstance(errors[0], ValueError)


@pytest.mark.parametrize(
    ("hook", "epochs", "batches"), [("on_fit_begin", 0, 0), ("on_epoch_begin", 0, 0), ("on_batch_end", 1, 1),
                                    ("on_epoch_end", 1, 5)])  # fmt: skip
def test_a_callback_may_end_it_at_any_moment(hook, epochs, batches):
    class Stop(training.Callback):
        pass

    setattr(Stop, hook, lambda self, fit: fit.stop("enough"))
    history = fitted(net(), epochs=3, callbacks=[Stop()])
    assert (len(history), len(history.losses), history.stopped) == (epochs, batches, "enough")
