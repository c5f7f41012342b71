"""Kernels of the family, in plain NumPy."""

__all__: list[str] = []
