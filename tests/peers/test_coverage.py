"""Every operator with a twin in PyTorch stands beside it in this folder; the others say why they have none."""

import re
from pathlib import Path

from kinone.ops import ALL_OPS

# Compared under another name: the text that shows it.
UNDER_ANOTHER_NAME = {
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), r'f"conv\{'),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), r'f"conv_transpose\{'),
    "getitem": r"x\[",
    "take_along_axis": r"\bgather\b",
    "softmax_nll": r"\bcross_entropy\b",
    "sigmoid_nll": r"\bbinary_cross_entropy_with_logits\b",
    "ctc_nll": r"\bctc_loss\b",
    "gru_gates": r"\bkn.gru\b",
    "lstm_gates": r"\bkn.lstm\b",
}
NO_TWIN = {
    "identity": "copies its input",
    "stop_gradient": "copies its input; tests/test_engine.py and the definitions show that nothing flows",
    "scatter_index": "the adjoint of getitem, and compared as its gradient",
    "convolution_weight_gradient": "the gradient of the convolutions, and compared as such",
    "max_unpool": "the gradient of max pooling, and compared as such",
    "avg_unpool": "the gradient of average pooling, and compared as such",
    "interpolate_transpose": "the gradient of interpolate, and compared as such",
    "nonzero": "gives a tuple of index arrays as NumPy does, its oracle in the matrix",
    "keyed_dropout": "draws from our own random streams",
}


def test_every_operator_has_its_twin():
    text = "\n".join(page.read_text(encoding="utf-8") for page in Path(__file__).parent.glob("test_*.py"))
    text = text.replace(Path(__file__).read_text(encoding="utf-8"), "")
    for name in ALL_OPS:
        if name not in NO_TWIN:
            shown = UNDER_ANOTHER_NAME.get(name, rf"\b{name}\b")
            assert re.search(shown, text), f"{name} is compared with nothing of PyTorch's"
    assert NO_TWIN.keys() | UNDER_ANOTHER_NAME.keys() <= ALL_OPS.keys()
