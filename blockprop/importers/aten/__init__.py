"""ATen operators, the vocabulary of torch.export: one handler for each, by subject."""

from blockprop.importers.aten import arranging, elementwise, layers, reducing
from blockprop.importers.aten.table import ATEN

__all__ = ["ATEN", "arranging", "elementwise", "layers", "reducing"]
