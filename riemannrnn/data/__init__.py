"""Data: labelled stimuli in memory, and the bundled sets."""

from riemannrnn.data.bundled import DATA_VARIABLE, fetch_mnist, load_digits, load_mnist, mnist_folder
from riemannrnn.data.dataset import Dataset
from riemannrnn.data.errors import DatasetError
from riemannrnn.data.idx import read_idx

__all__ = ["DATA_VARIABLE", "Dataset", "DatasetError", "fetch_mnist", "load_digits", "load_mnist", "mnist_folder", "read_idx"]
