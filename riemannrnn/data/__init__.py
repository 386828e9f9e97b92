"""Data: sources of rows in memory and on disk, tables of stimuli and targets, streams of batches, and the bundled sets."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.data.bundled import DATA_VARIABLE, fetch_mnist, load_digits, load_mnist, mnist_folder
    from riemannrnn.data.choosing import index_column, open_table
    from riemannrnn.data.dataset import Dataset
    from riemannrnn.data.errors import DatasetError
    from riemannrnn.data.formats import FORMATS, Format
    from riemannrnn.data.idx import read_idx
    from riemannrnn.data.opening import array_names, open_source
    from riemannrnn.data.part import Part
    from riemannrnn.data.source import Column, Source
    from riemannrnn.data.standardisation import Moments, Standardisation
    from riemannrnn.data.stream import START, Position, Stream
    from riemannrnn.data.table import Classes, Field, Table
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "DATA_VARIABLE",
    "FORMATS",
    "START",
    "Classes",
    "Column",
    "Dataset",
    "DatasetError",
    "Field",
    "Format",
    "Moments",
    "Part",
    "Position",
    "Source",
    "Standardisation",
    "Stream",
    "Table",
    "array_names",
    "fetch_mnist",
    "index_column",
    "load_digits",
    "load_mnist",
    "mnist_folder",
    "open_source",
    "open_table",
    "read_idx",
]
