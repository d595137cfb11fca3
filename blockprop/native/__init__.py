"""Kernels in C for CPUs, optional: what is computed with them, torch computes without them."""
