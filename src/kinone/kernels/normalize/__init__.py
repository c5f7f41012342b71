"""Kernels of the family `normalize`."""
