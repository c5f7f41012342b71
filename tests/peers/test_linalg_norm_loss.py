"""Linear algebra, normalizations, attention and losses beside PyTorch's."""

import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (tests/peers/requirements.txt)")
F = torch.nn.functional
