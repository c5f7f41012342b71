"""Kernels of the family `loss`."""
