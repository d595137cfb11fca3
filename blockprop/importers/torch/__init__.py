"""Torch modules: exported by torch, then read operator by operator."""
