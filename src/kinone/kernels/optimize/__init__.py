"""Kernels of the family `optimize`."""
