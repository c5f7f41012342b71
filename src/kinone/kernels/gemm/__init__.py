"""Kernels of the family `gemm`."""
