"""The commands, put together."""

from cyclopts import App

from kinone import __version__
from kinone.cli.bench import bench
from kinone.cli.diff import diff
from kinone.cli.doctor import doctor
from kinone.cli.download import download
from kinone.cli.evaluate import evaluate
from kinone.cli.ops import ops
from kinone.cli.predict import predict
from kinone.cli.replay import replay
from kinone.cli.report import report
from kinone.cli.train import train
from kinone.cli.verify import verify

app = App(
    name="kinone",
    version=f"kinone {__version__}",
    help="Deep learning that a person can read, check and replay."
    "\n\nFor example:\n\n    kinone train\n    kinone ops softmax",
    help_format="plaintext",
)
app.command(train)
app.command(evaluate)
app.command(predict)
app.command(report)
app.command(verify)
app.command(replay)
app.command(diff)
app.command(ops)
app.command(doctor)
app.command(bench)
app.command(download)
