"""Kernels of the family `reduction`."""
