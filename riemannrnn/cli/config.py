"""The configuration of `riemannrnn train`: the contents of its TOML file, and errors that name the key and the remedy."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from riemannrnn.run_folder import write_toml
from riemannrnn.settings import Options, SettingError, again, option, record_of, unknown
from riemannrnn.training.options import NetworkOptions, TrainingOptions

VERSIONS = "versions"
"""The table of a run folder about the program that wrote it; it has no options."""


@dataclass(frozen=True)
class LayerTable(Options):
    """`[[network.layers]]`: a layer of a stack, from the lowest. In a list, a number stands for a layer of this many units."""

    by_name: ClassVar[bool] = True
    shorthand: ClassVar[str | None] = "units"

    units: int = again(NetworkOptions, "n_units", 100)
    activation: str | None = again(NetworkOptions, "activation", None)  # None: the activation of the network
    signs: tuple[float, ...] | None = again(NetworkOptions, "signs", None)
    inhibitory: float | None = again(NetworkOptions, "inhibitory", None)  # None: the share of the network
    skips: tuple[int, ...] = option((), "Numbers of lower layers that also drive this layer; the lowest is 0.", least=0)
    channels: int | None = option(
        None, "Channels of a layer of images, whose weights are the same at every position. Its units are not given.", least=1
    )
    support: int = option(5, "Height and width of the recurrent kernels of a layer of images.", least=1)
    read_in: int = option(3, "Height and width of the kernels by which a layer of images reads what is below.", least=1)
    stride: int = option(1, "Distance of the positions of what is below at which a layer of images reads.", least=1)
    pool: int = option(1, "Height and width of the windows of a layer of images whose means are read above.", least=1)


@dataclass(frozen=True)
class NetworkTable(Options):
    """`[network]`: the arguments of `RateNetwork` or `Stack`, and the weights at the start."""

    by_name: ClassVar[bool] = True

    units: int = again(NetworkOptions, "n_units", 100)
    activation: str = again(NetworkOptions, "activation", "tanh")
    radius: float = again(NetworkOptions, "radius", 0.5)
    trained: tuple[str, ...] | None = again(NetworkOptions, "trained", None)
    signs: tuple[float, ...] | None = again(NetworkOptions, "signs", None)
    inhibitory: float | None = again(NetworkOptions, "inhibitory", None)
    layers: tuple[LayerTable, ...] = again(NetworkOptions, "layers", ())
    seed: int = option(0, "Seed of the read-in, the readout and the weights at the start.", least=0, flag=True)
    dtype: str = option("float64", "Dtype of all arrays.", choices=("float32", "float64"))

    @property
    def signed(self) -> bool:
        """Whether units of a layer are excitatory or inhibitory."""
        tables: tuple[NetworkTable | LayerTable, ...] = (self, *self.layers)
        return any(each.signs is not None or each.inhibitory is not None for each in tables)


@dataclass(frozen=True)
class DataTable(Options):
    """`[data]`: the training data and the held-out data."""

    by_name: ClassVar[bool] = True

    name: str = option(
        "digits",
        'Without a file: "digits", with `training_size` for training and the rest held out, or "mnist" from the files of a '
        "folder.",
        choices=("digits", "mnist"),
    )
    training_size: int | None = option(None, "Number of stimuli to learn. Default: 1000 digits, all of MNIST.", least=1)
    seed: int = option(0, "Seed of the choice of the stimuli.", least=0, flag=True)
    folder: str | None = option(None, "Folder of the four files of MNIST.")
    file: str | None = option(
        None,
        "File of stimuli and targets, instead of bundled data: CSV, Parquet, NumPy, HDF5, NetCDF, zarr or IDX.",
        flag="data",
    )
    target: tuple[str, ...] = option((), "Column or columns of the targets, or the name of their array.", flag=True)
    target_file: str | None = option(None, "File of the targets, if they are not in `file`.")
    inputs: tuple[str, ...] = option((), "Columns of the stimuli, or the name of their array. Default: all others.", flag=True)
    index: str | None = option(
        None, "Column that numbers or names the rows, and is left out. Default: found automatically.", flag=True
    )
    task: str | None = option(
        None,
        '"classification" or "regression". Default: texts, truth values and one column of whole numbers are classes.',
        choices=("classification", "regression"),
    )
    missing: str | None = option(
        None,
        'Treatment of missing numbers in stimuli: "refuse" (an error), or "mean" of their column over the rows for training. '
        'Default: "refuse". Missing targets count as not observed, and are left out of the loss.',
        choices=("refuse", "mean"),
        flag=True,
    )
    standardise: bool | None = option(
        None, "Whether stimuli in a file are scaled to mean 0 and variance 1 over the training rows. Default: true."
    )
    held_out: float | None = option(
        None, "Share of the rows of a file that are held out, or their number. Default: 0.2.", least=0
    )
    rows: str | None = option(None, "Dimension of the rows in a file with named dimensions. Default: the first.")
    stream: bool | None = option(
        None,
        "Whether the batches of a file are read on demand. Default: true if the stimuli take more than a quarter of "
        "the memory of this machine.",
    )
    cache: str | None = option(None, "Folder for files that must be converted before they can be read by rows.")
    shape: tuple[int, ...] | None = option(
        None,
        "Height, width and channels of the stimuli, if they are images and layers have channels. Default: the sizes of the "
        "digits or of MNIST.",
        least=1,
    )

    @classmethod
    def checked(cls, name: str, value: Any, prefix: str = "") -> Any:
        """Return the value of an option; a single name stands for a list with one name."""
        single = isinstance(value, str) and name in ("target", "inputs")
        return super().checked(name, (value,) if single else value, prefix)


BUNDLED = ("name", "training_size", "folder")
"""Keys of `[data]` for bundled data. The others, except the seed, are for a file."""


@dataclass(frozen=True)
class TrainTable(TrainingOptions):
    """`[train]`: the options of `train`, with rule, manifold and schedule by name, and options of the command."""

    by_name: ClassVar[bool] = True

    batch_size: int = again(TrainingOptions, "batch_size", 50)
    epochs: int = again(TrainingOptions, "epochs", 10, least=1)
    seed: int = again(TrainingOptions, "seed", 0)
    margin: float = option(
        0.05, "Margin of the guard: the spectral abscissa stays below minus this, in units of 1/τ.", least=0, below=1
    )
    record: bool | None = option(
        None, "Whether W is written to path.h5 during learning, for `riemannrnn geodesics`. Default: true if W is a matrix."
    )


@dataclass(frozen=True)
class Config:
    """The configuration of a training run, one table in each attribute."""

    network: NetworkTable = field(default_factory=NetworkTable)
    data: DataTable = field(default_factory=DataTable)
    train: TrainTable = field(default_factory=TrainTable)


TABLES: dict[str, type[Options]] = get_type_hints(Config)
PATHS = [f"{table}.{each.name}" for table, schema in TABLES.items() for each in fields(schema)]


def read_config(path: Path | None, given: Mapping[str, Mapping[str, Any]] | None = None) -> Config:
    """Return the configuration in a TOML file, if one is given, with the given values replacing those in the file.

    Raises
    ------
    SettingError
        If the file does not exist, or for the first invalid key or value in it, named by its path.
    """
    return parse_config(merged(_tables(path) if path else {}, given or {}))


def read_run(folder: Path) -> Config:
    """Return the configuration of a run folder.

    Raises
    ------
    SettingError
        If it is not the folder of a training run, or for the errors of `read_config`.
    """
    path = folder / "config.toml"
    # Only a run that this command started is continued, which replaces its results.
    if not path.is_file() or not (folder / "checkpoints").is_dir() or _tables(path).keys() != {*TABLES, VERSIONS}:
        raise SettingError(f"{folder} is not the folder of a run; name a folder that `riemannrnn train` has made")
    return read_config(path)


def write_config(path: Path, config: Config) -> None:
    """Write a configuration, with the version of the program."""
    write_toml(path, asdict(config) | {VERSIONS: {"riemannrnn": version("riemannrnn")}})


def merged(tables: Mapping[str, Any], given: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return nested tables with other values for some of their keys."""
    return {**tables, **{name: {**tables.get(name, {}), **values} for name, values in given.items() if values}}


def parse_config(tables: Mapping[str, Any]) -> Config:
    """Return the configuration in nested tables; raises as `read_config` does."""
    for name in tables:
        if name not in (*TABLES, VERSIONS):
            raise unknown(name, name, TABLES, PATHS)
    records: dict[str, Any] = {name: record_of(schema, tables.get(name, {}), name, PATHS) for name, schema in TABLES.items()}
    return Config(**records)


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise SettingError(f"{path} is nested too deeply; write tables of numbers, texts and lists") from None
