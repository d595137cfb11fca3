"""Prepared networks on kernels in C: which nodes go together, their program, and the memory that it works in."""
