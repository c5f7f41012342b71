"""`kinone bench`: what it lists, measures, writes and refuses."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("rich")
from kinone import cli
from kinone.cli.benchplot import picture
from kinone.cli.benchtables import tables, time_text
from kinone.kernels import settings

if settings.native is None:
    pytest.skip(f"the native kernels are {settings.WHY_NOT}", allow_module_level=True)

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("PYTHONPATH", str(BENCHMARKS.parent / "src"))

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            cli.main(["bench", *arguments])
        said = capsys.readouterr()
        return int(left.value.code or 0), said.out, said.err

    return call


def test_every_family_is_listed_with_its_peers(run):
    status, out, _ = run("--list")
    assert status == 0
    for text in ("gemm 1024×1024×1024", "ResNet-18 8×1×224² training step", "LSTM 32×64×128→256", "loops: conv"):
        assert text in out
    assert "numpy" in out


def test_it_measures_writes_and_draws(run, tmp_path):
    report, text, plot = (tmp_path / f"r.{kind}" for kind in ("json", "md", "svg"))
    status, out, _ = run("gemm", "--grep", "64×784", "--peers", "numpy", "--rounds", "2", "--seconds", "0.001",
                         "--json", str(report), "--markdown", str(text), "--plot", str(plot))  # fmt: skip
    assert status == 0 and "gemm 64×784×256" in out and "numpy" in out and "GFLOP/s" in out
    found: dict[str, Any] = json.loads(report.read_text())
    (work,) = found["works"]
    assert work["family"] == "gemm" and set(work["seconds"]) == {"kinone", "numpy"}
    assert work["ratio"] == pytest.approx(work["ratios"]["numpy"]) and work["ratio"] > 0
    assert found["limits"] == work["limits"] and work["limits"]["operations"] > 1e8 and work["limits"]["bytes"] > 1e7
    least = max(work[name] / limit for name, limit in found["limits"].items())
    assert work["of_limit"] == pytest.approx(least / work["seconds"]["kinone"])
    assert text.read_text().splitlines()[-1].startswith("| gemm 64×784×256 | ")
    assert found["environment"]["versions"] and found["rounds"] == 2
    assert "gemm 64×784×256" in plot.read_text() and plot.read_text().startswith("<svg")


def test_the_convolutions_of_the_loops_are_the_kernels():
    import numpy as np

    from kinone import kernels

    sys.path.insert(0, str(BENCHMARKS))
    try:
        import loops
    finally:
        sys.path.remove(str(BENCHMARKS))
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 2, 4, 6)), rng.standard_normal((3, 2, 3, 3))
    y = kernels.convolution_forward(x, w, None, (1, 1), ((1, 1), (1, 1)), (1, 1), 1)
    np.testing.assert_allclose(loops.convolved(x, w), y, rtol=1e-12)
    np.testing.assert_array_equal(
        loops.pooled(x), kernels.max_pool_forward(x, (2, 2), (2, 2), ((0, 0),) * 2, (1, 1), (2, 3))[0]
    )


@pytest.mark.parametrize(("arguments", "message"), [
    (["gem"], "expected families among gemm, convolution"),
    (["gemm", "--grep", "sponge"], "expected a text that some work's name contains, got 'sponge'"),
    (["--rounds", "0"], "rounds ≥ 1"),
    (["--json", "no/such/folder/r.json"], "a file in a folder that exists"),
    (["--folder", "nowhere"], "they are in Kinone's repository"),
])  # fmt: skip
def test_what_it_refuses(run, arguments, message):
    status, out, err = run(*arguments)
    assert status == 2 and message in err and len(err.strip().splitlines()) == 1 and not out


def test_times_and_pictures():
    assert [time_text(t) for t in (5e-7, 0.25, 12)] == ["0.50 µs", "250 ms", "12.0 s"]
    works = [
        {"name": name, "ratio": ratio, "target": 1.5}
        for name, ratio in (("a", 2.0), ("b", 1.2), ("c", 0.5), ("d", None))
    ]
    drawn = picture(works)
    assert [drawn.count(f'<rect class="{kind}"') for kind in ("met", "ahead", "behind")] == [1, 1, 1]
    assert ">2.00×<" in drawn and ">d<" not in drawn


def test_tables_have_one_family_each_and_bold_where_a_target_is_met():
    work = {"seconds": {"kinone": 0.002, "torch": 0.004}, "ratio": 2.0, "target": 1.5, "of_limit": 0.5}
    report = {
        "limits": {"operations": 2e11, "bytes": 3e10},
        "works": [
            {"family": "gemm", "name": "a", **work, "memory": {"kinone": 1 << 20, "torch": 1 << 21}},
            {"family": "gemm", "name": "b", **work, "target": 3},
            {"family": "memory_bound", "name": "c", "error": "no memory"},
        ],
    }
    lines = tables(report).splitlines()
    assert lines[0] == "the limits here: 200 GFLOP/s, 30.0 GB/s." and lines[2] == "### gemm"
    assert "| a | 2.00 ms | torch 4.00 ms | **2.00×** | 1.5× | 50% | 1 MiB (50%) |" in lines
    assert "| b | 2.00 ms | torch 4.00 ms | 2.00× | 3× | 50% |  |" in lines
    assert lines[-5] == "### memory-bound" and lines[-1] == "| c | failed: no memory |  |  |  |  |  |"
