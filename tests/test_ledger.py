"""The ledger: one form, one chain; whatever is changed in it shows."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import kinone as kn
from kinone.errors import ArgumentError, FormatError
from kinone.training import ledger
from kinone.training.ledger import ZEROS, Ledger, digest_of_ids, digest_of_state, parsed, read, real, written


def lines(steps: int = 6) -> list[tuple[str, dict[str, Any]]]:
    config = {"seed": 3, "model": {"name": "resnet18", "width": 0.5}, "classes": ["a", "ü"]}
    made: list[tuple[str, dict[str, Any]]] = [
        ("run", {"format": ledger.FORMAT, "profile": "kn1", "config": config, "data": "d", "sources": "s"}),
        ("replaced", {"sample": "7.png", "by": "8.png", "why": "cut off"}),
    ]
    for step in range(1, steps + 1):
        is_odd = step == 2
        fields = {"step": step, "epoch": (step - 1) // 3, "samples": digest_of_ids([step, 9]), "lr": 0.1 / step}
        fields |= {"loss": float("inf") if is_odd else 1 / 3, "norm": float("nan") if is_odd else -0.0}
        made.append(("step", {**fields, "weights": "w", "optimizer": "o"} if step % 3 == 0 else fields))
        if step % 3 == 0:
            made.append(("epoch", {"epoch": (step - 1) // 3, "step": step, "metrics": {"auc": 0.5, "of": None}}))
            made.append(("checkpoint", {"step": step, "file": f"step-{step}", "digest": "c"}))
    return [*made, ("end", {"steps": steps, "weights": "w"})]


def chained(made: list[tuple[str, dict[str, Any]]]) -> list[bytes]:
    """The lines with right hashes, as one who forges a ledger would write them."""
    head, out = ZEROS, []
    for kind, fields in made:
        out.append(written(kind, fields, head))
        head = hashlib.sha256(out[-1]).hexdigest()
    return out


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "ledger.jsonl").write_bytes(b"".join(line + b"\n" for line in chained(lines())))
    return tmp_path / "ledger.jsonl"


def faults(path: Path, content: list[bytes]) -> list[str]:
    path.write_bytes(b"".join(line + b"\n" for line in content))
    return read(path).faults


def test_what_is_written_is_read(path: Path):
    chain = read(path)
    assert not chain.faults and chain.is_closed and not chain.is_torn
    for entry, (kind, fields) in zip(chain.entries, lines(), strict=True):
        assert entry.kind == kind and entry.fields.keys() == fields.keys()
        for name, value in fields.items():
            if isinstance(value, float):
                assert np.float64(entry.fields[name]).tobytes() == np.float64(value).tobytes()
            elif kind not in ("run", "epoch"):
                assert entry.fields[name] == value
    assert chain.entries[0].fields["config"]["model"]["width"] == (0.5).hex()
    assert chain.head == hashlib.sha256(path.read_bytes().splitlines()[-1]).hexdigest()


def test_every_flipped_bit_shows(path: Path):
    path.write_bytes(b"".join(line + b"\n" for line in chained(lines(3))))
    data, head, missed = path.read_bytes(), read(path).head, []
    for i in range(8 * len(data)):
        other = bytearray(data)
        other[i // 8] ^= 1 << i % 8
        path.write_bytes(other)
        chain = read(path)
        # In the last line a change leaves the chain whole; then the fingerprint is another.
        if not chain.faults and not chain.is_torn and chain.is_closed and chain.head == head:
            missed.append(i)
    assert not missed and 8 * len(data) > 10_000


def test_dropped_swapped_and_doubled_lines_show(path: Path):
    good = path.read_bytes().splitlines()
    for i in range(len(good)):
        shorter = good[:i] + good[i + 1 :]
        assert faults(path, shorter) or not read(path).is_closed
        if i:
            assert faults(path, [*good[: i - 1], good[i], good[i - 1], *good[i + 1 :]])
        assert faults(path, [*good[: i + 1], *good[i:]])


def test_every_truncation_shows(path: Path):
    data = path.read_bytes()
    for end in range(len(data)):
        path.write_bytes(data[:end])
        chain = read(path)
        assert not chain.is_closed or chain.is_torn
        assert chain.is_torn is (not data[:end].endswith(b"\n") and end > 0)


def test_a_chain_made_anew_after_dropping_steps_shows(path: Path):
    made = lines()
    for i, (kind, _) in enumerate(made):
        if kind in ("step", "run"):
            assert faults(path, chained(made[:i] + made[i + 1 :])), i
    assert faults(path, chained([*made, made[-1]])), "lines after the end"
    assert faults(path, chained([made[0], *made])), "two runs"
    assert faults(path, chained([("run", {**made[0][1], "format": "kinone.ledger.v9"}), *made[1:]]))
    assert faults(path, chained([*made[:-1], ("end", {"steps": 5, "weights": "w"})]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: {**d, "loss": "0x1.8p-3"}, "a number such as 0x1.8p-3"),
        (lambda d: {**d, "loss": 0.3}, "a number such as"),
        (lambda d: {**d, "loss": "Infinity"}, "a number such as"),
        (lambda d: {**d, "step": True}, "step, expected a int"),
        (lambda d: {**d, "step": "1"}, "a int"),
        (lambda d: {**d, "note": "x"}, "the keys kind, step"),
        (lambda d: {k: d[k] for k in reversed(d)}, "the keys kind, step"),
        (lambda d: {**d, "prev": "A" * 64}, "64 hexadecimal digits"),
        (lambda d: {**d, "kind": "steps"}, "a kind among run"),
        (lambda d: [d], "a kind among run"),
    ],
    ids=range(10),
)
def test_one_form_only(change, match):
    line = json.loads(written("step", lines()[2][1], ZEROS))
    with pytest.raises(FormatError, match=match.replace("step, expected ", "")):
        parsed(json.dumps(change(line), separators=(",", ":")).encode(), 3)


@pytest.mark.parametrize(
    "line",
    [b"", b"{", b"null", b'"run"', b"[" * 100_000, b'{"kind":"end", "steps":1}', b"\xff", "é".encode(),
     written("end", {"steps": 1, "weights": "w"}, ZEROS).replace(b'"steps":1', b'"steps":1,"steps":1')],
)  # fmt: skip
def test_what_is_no_line_is_refused(line: bytes):
    with pytest.raises(FormatError, match="ledger, line 4"):
        parsed(line, 4)


@pytest.mark.parametrize(
    ("kind", "fields", "match"),
    [
        ("jump", {}, "no such kind"),
        ("end", {"steps": 1}, "the fields of 'end': steps, weights, got steps"),
        ("end", {"steps": 1.0, "weights": "w"}, "end.steps to be a int"),
        ("epoch", {"epoch": 0, "step": 1, "metrics": {"f": max}}, "numbers, text, lists and names"),
    ],
)
def test_what_does_not_belong_is_not_written(kind: str, fields: dict[str, Any], match: str):
    with pytest.raises(ArgumentError, match=match):
        written(kind, fields, ZEROS)


def test_going_on_cuts_off_what_was_not_kept(tmp_path: Path):
    path = tmp_path / "ledger.jsonl"
    with Ledger(path) as whole:
        heads = []
        for kind, fields in lines():
            whole.add(kind, **fields)
            heads.append(whole.head)
    content = path.read_bytes()
    for i in (0, 4, len(heads) - 1):
        path.write_bytes(content + b'{"kind":"st')  # a crash in the middle of a line
        with Ledger(path, heads[i]) as again:
            for kind, fields in lines()[i + 1 :]:
                again.add(kind, **fields)
        assert path.read_bytes() == content
    with pytest.raises(FormatError, match="a line with the hash"):
        Ledger(path, "a" * 64)
    with pytest.raises(FileExistsError):
        Ledger(path)
    assert path.read_bytes() == content


def test_digests_see_every_bit():
    state = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": kn.Tensor([0.0]), "steps": 3}
    first = digest_of_state(state)
    assert digest_of_state(dict(reversed(state.items()))) == first
    others = [{**state, "w": np.nextafter(state["w"], np.float32(9))}, {**state, "b": kn.Tensor([-0.0])},
              {**state, "w": state["w"].reshape(3, 2)}, {**state, "w": state["w"].astype(np.float64)},
              {**state, "steps": 4}, {**state, "v": 0}]  # fmt: skip
    assert len({first, *map(digest_of_state, others)}) == 7
    assert digest_of_state({**state, "w": state["w"][:, ::-1][:, ::-1]}) == first
    assert digest_of_ids([1, 12]) != digest_of_ids([11, 2]) != digest_of_ids([2, 11])


def test_real_numbers_have_one_form():
    for x in (0.1, -0.0, 5e-324, 1e308, float("inf"), float("nan")):
        again = real(x.hex())
        assert again is not None and np.float64(again).tobytes() == np.float64(x).tobytes()
    assert [real(text) for text in ("0x1p-3", "1.0", "NAN", "", None, "0x1.99999999999999999p-4")] == [None] * 6


def test_the_size_of_a_step():
    assert len(written("step", lines()[4][1], ZEROS)) < 400
