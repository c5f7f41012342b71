"""Kernels of the family `factorize`."""
