"""Examples to learn from: arrays, tables and folders of pictures, read as one kind of thing, a Dataset."""

from blockprop.data.dataset import Data, Dataset
from blockprop.data.reading import NAMES, TABLES, read_data
from blockprop.data.tables.encoder import TableEncoder

__all__ = ["NAMES", "TABLES", "Data", "Dataset", "TableEncoder", "read_data"]
