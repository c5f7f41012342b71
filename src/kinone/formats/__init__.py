"""Files: safetensors, JSON checkpoints, PyTorch's zip files."""

from kinone.formats.methods import METHODS
from kinone.formats.safetensors import load_safetensors, read_header, save_safetensors

__all__ = ["METHODS", "load_safetensors", "read_header", "save_safetensors"]
