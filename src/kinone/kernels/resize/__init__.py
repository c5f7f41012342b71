"""Kernels of the family `resize`."""
