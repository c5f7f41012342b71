"""Files: safetensors, JSON checkpoints, PyTorch's zip files."""

from kinone.formats.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from kinone.formats.methods import METHODS
from kinone.formats.safetensors import load_safetensors, read_header, save_safetensors
from kinone.formats.torch_file import load_torch

__all__ = [
    "METHODS", "Checkpoint", "load_checkpoint", "load_safetensors", "load_torch", "read_header", "save_checkpoint",
    "save_safetensors",
]  # fmt: skip
