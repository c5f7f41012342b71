"""Kernels of the family `pooling`."""
