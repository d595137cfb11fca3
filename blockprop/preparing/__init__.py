"""The same mathematics with less work, for networks whose weights stay fixed."""

from blockprop.preparing.prepare import Prepared, prepare
from blockprop.preparing.rewrites import REWRITES

__all__ = ["REWRITES", "Prepared", "prepare"]
