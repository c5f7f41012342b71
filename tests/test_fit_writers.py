"""TensorBoard and MLflow: what a fit writes is what they read back; skipped by name where not installed."""

from typing import Any

import pytest

from fit_samples import X, Y, fitted, net
from kinone import optim, training


@pytest.mark.slow  # its import takes seconds
def test_tensorboard_has_the_figures(tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed (the extra tensorboard)")
    from tensorboardX.event_file_writer import EventFileWriter  # noqa: F401
    from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    model = net()
    history = fitted(
        model, epochs=3, validation=(X, Y), callbacks=[training.TensorBoard(tmp_path / "run", every_steps=2)]
    )
    (file,) = (tmp_path / "run").iterdir()
    raw, found = file.read_bytes(), {}
    while raw:  # records of length, checksum, event, checksum
        size = int.from_bytes(raw[:8], "little")
        event = Event.FromString(raw[12 : 12 + size])
        raw = raw[16 + size :]
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert [step for step, _ in found["loss/training"]] == [1, 2, 3]
    for tag, name in (("loss/training", "loss"), ("loss/validation", "val_loss"), ("lr/training", "lr")):
        assert [v for _, v in found[tag]] == pytest.approx(history[name], rel=1e-6)
    assert [step for step, _ in found["loss_by_step"]] == [2, 4, 6, 8, 10, 12, 14]


@pytest.mark.slow
def test_mlflow_has_parameters_and_metrics(tmp_path, monkeypatch):
    mlflow: Any = pytest.importorskip("mlflow", reason="mlflow is not installed (the extra mlflow)")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a database needs more than mlflow-skinny
    uri = (tmp_path / "runs").as_uri()
    model = net()
    log = training.MLflow("kinone", "one", uri, {"data": "made up"})
    history = fitted(model, epochs=3, validation=(X, Y), optimizer=optim.SGD(model, lr=0.1), callbacks=[log])
    client = mlflow.MlflowClient(tracking_uri=uri)
    run = client.get_run(log.run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "one"
    assert run.data.params["optimizer.lr"] == "0.1" and run.data.params["data"] == "made up"
    seen = client.get_metric_history(log.run_id, "val_loss")
    assert [(m.step, m.value) for m in seen] == list(zip([1, 2, 3], history["val_loss"], strict=True))

    class Broken(training.Callback):
        def on_epoch_end(self, fit: Any) -> None:
            raise ValueError("disk full")

    log = training.MLflow(uri=uri)
    with pytest.raises(ValueError, match="disk full"):
        fitted(net(), callbacks=[log, Broken()])
    assert client.get_run(log.run_id).info.status == "FAILED" and mlflow.active_run() is None
