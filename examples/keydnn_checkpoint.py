"""The KeyDNN checkpoint walk-through: a convolutional network saved by KeyDNN, loaded, checked, and saved again.

KeyDNN keeps a model in one JSON file (`keydnn.json.ckpt.v1`): its architecture as type, config and children, its
parameters in base64. This writes such a file as KeyDNN does, without it, and reads it.

    python examples/keydnn_checkpoint.py
"""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np

from kinone import nn
from kinone.random import Stream


def layer(kind: str, **config: Any) -> dict[str, Any]:
    return {"type": kind, "config": config, "children": {}}


def payload(array: np.ndarray) -> dict[str, Any]:
    return {"b64": base64.b64encode(array.tobytes()).decode(), "dtype": array.dtype.str, "shape": list(array.shape),
            "order": "C"}  # fmt: skip


def write(path: Path) -> dict[str, np.ndarray]:
    """The model of KeyDNN's manual, in its file."""
    layers = [
        layer("Conv2d", in_channels=1, out_channels=8, kernel_size=[3, 3], stride=[1, 1], padding=[1, 1], bias=True),
        layer("ReLU"),
        layer("MaxPool2d", kernel_size=[2, 2], stride=[2, 2], padding=[0, 0]),
        layer("Flatten"),
        layer("Linear", in_features=8 * 14 * 14, out_features=10, bias=True),
        layer("Softmax", axis=-1),
    ]
    source = Stream("KeyDNN", seed=1)
    shapes = {"0.weight": (8, 1, 3, 3), "0.bias": (8,), "4.weight": (10, 8 * 14 * 14), "4.bias": (10,)}
    state = {name: source.normal(shape, std=0.05) for name, shape in shapes.items()}
    arch = {**layer("Sequential"), "children": {str(i): one for i, one in enumerate(layers)}}
    data = {"format": "keydnn.json.ckpt.v1", "arch": arch, "state": {name: payload(a) for name, a in state.items()}}
    path.write_text(json.dumps(data, indent=2, sort_keys=True), encoding="utf-8")
    return state


def main(short: bool = False) -> dict[str, float]:
    """Load, compute, save as a file of Kinone's, and load again."""
    path = Path("keydnn.json")
    state = write(path)
    model = nn.Sequential.load_json(path)
    print(model)

    x = Stream("pictures", seed=1).normal((4, 1, 28, 28))
    y = model(x).data
    padded = np.pad(x[:, 0], ((0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (1, 2))
    hidden = np.einsum("nhwij,oij->nohw", windows, state["0.weight"][:, 0]) + state["0.bias"][:, None, None]
    pooled = np.maximum(hidden, 0).reshape(4, 8, 14, 2, 14, 2).max((3, 5)).reshape(4, -1)
    e = np.exp(pooled @ state["4.weight"].T + state["4.bias"])
    error = float(np.abs(y - e / e.sum(axis=1, keepdims=True)).max())
    print(f"largest difference from NumPy: {error:.1e}")

    model.save_json("kinone.json.gz")
    same = np.array_equal(nn.Module.load_json("kinone.json.gz")(x).data, y)
    print(f"saved and loaded as kinone.json.v1: {'the same bits' if same else 'other bits'}")
    return {"error": error, "same": float(same)}


if __name__ == "__main__":
    main()
