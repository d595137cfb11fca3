"""The one room that touches torch's autograd: networks as torch modules, and torch's operators as blocks."""

from blockprop.interop.modules import BlockModule, NetworkModule, frozen, to_torch
from blockprop.interop.opaque import Opaque

__all__ = ["BlockModule", "NetworkModule", "Opaque", "frozen", "to_torch"]
