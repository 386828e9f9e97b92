"""The configuration of `riemannrnn train`: what its TOML file may hold, and errors that name the place and the remedy."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from math import inf
from pathlib import Path
from typing import Any, get_args, get_type_hints

from riemannrnn.metrics.catalogue import GEOMETRIES
from riemannrnn.network import ACTIVATIONS
from riemannrnn.rules.named import RULES
from riemannrnn.run_folder import write_toml
from riemannrnn.settings import SettingError, checked, unknown
from riemannrnn.training.defaults import SCHEDULES

VERSIONS = "versions"
"""The table of a run folder that says what made it; it is no setting."""


def _key(default: Any, least: float | None = None, below: float | None = None, choices: Iterable[str] = ()) -> Any:
    """Return the field of a key; None as its default means that it depends on other keys."""
    return field(default=default, metadata={"least": least, "below": below, "choices": tuple(choices)})


@dataclass(frozen=True)
class NetworkTable:
    """`[network]`: see `RateNetwork`; `radius` is the spectral radius of the weights to start from."""

    units: int = _key(100, least=1)
    activation: str = _key("tanh", choices=ACTIVATIONS)
    radius: float = _key(0.5, least=0, below=inf)
    seed: int = _key(0, least=0)
    dtype: str = _key("float64", choices=("float32", "float64"))


@dataclass(frozen=True)
class DataTable:
    """`[data]`: "digits" of which `training_size` are learned and the rest held out, or "mnist" from the files of a folder.

    Default of `training_size`: 1000 digits, all of MNIST.
    """

    name: str = _key("digits", choices=("digits", "mnist"))
    training_size: int | None = _key(None, least=1)
    seed: int = _key(0, least=0)
    folder: str | None = _key(None)


@dataclass(frozen=True)
class TrainTable:
    """`[train]`: the arguments of `train`, with manifold, rule and schedule by name, and the margin of the guard.

    `record`: whether W is written to path.h5 along learning, for `riemannrnn geodesics`; by default where it is a matrix.
    """

    rule: str | None = _key(None, choices=RULES)
    manifold: str | None = _key(None, choices=GEOMETRIES)
    learning_rate: float | None = _key(None, least=0, below=inf)
    batch_size: int = _key(50, least=1)
    epochs: int = _key(10, least=1)
    seed: int = _key(0, least=0)
    schedule: str | None = _key(None, choices=SCHEDULES)
    longest_step: float | None = _key(None, least=0)
    decay: float = _key(0.0, least=0, below=inf)
    guard: bool | None = _key(None)
    margin: float = _key(0.05, least=0, below=1)
    evaluate_every: int | None = _key(None, least=1)
    checkpoint_every: int = _key(50, least=1)
    record: bool | None = _key(None)


@dataclass(frozen=True)
class Config:
    """A training run, table by table."""

    network: NetworkTable = field(default_factory=NetworkTable)
    data: DataTable = field(default_factory=DataTable)
    train: TrainTable = field(default_factory=TrainTable)


TABLES = get_type_hints(Config)
PATHS = [f"{table}.{each.name}" for table, schema in TABLES.items() for each in fields(schema)]


def read_config(path: Path) -> Config:
    """Return the configuration in a TOML file.

    Raises
    ------
    SettingError
        If there is no such file, or for the first key or value in it that is wrong, named by its path.
    """
    return parse_config(_tables(path))


def read_run(folder: Path) -> Config:
    """Return the configuration of a run folder.

    Raises
    ------
    SettingError
        If it is not the folder of a training run, or as for `read_config`.
    """
    path = folder / "config.toml"
    # A run is only gone on with, and its results replaced, where this command has begun it.
    if not path.is_file() or not (folder / "checkpoints").is_dir() or _tables(path).keys() != {*TABLES, VERSIONS}:
        raise SettingError(f"{folder} is no run to go on with; name a folder that `riemannrnn train` has made")
    return read_config(path)


def write_config(path: Path, config: Config) -> None:
    """Write a configuration, with the version that it is run with."""
    write_toml(path, asdict(config) | {VERSIONS: {"riemannrnn": version("riemannrnn")}})


def parse_config(tables: Mapping[str, Any]) -> Config:
    """Return the configuration in nested tables; raises as `read_config` does."""
    for name, table in tables.items():
        if name not in (*TABLES, VERSIONS):
            raise unknown(name, name, TABLES, PATHS)
        if not isinstance(table, Mapping):
            raise SettingError(f"{name} = {table!r}: expected a table; write [{name}], and its keys below")
    return Config(**{name: _parse_table(name, schema, tables.get(name, {})) for name, schema in TABLES.items()})


def _tables(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))  # some editors begin a file with a byte order mark
    except OSError as error:
        raise SettingError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingError(f"{path} is not TOML: {error}") from error
    except RecursionError:
        raise SettingError(f"{path} is nested too deeply; write tables of numbers, texts and lists") from None


def _parse_table(name: str, schema: type, table: Mapping[str, Any]) -> Any:
    hints, keys = get_type_hints(schema), {each.name: each for each in fields(schema)}
    values = {}
    for key, value in table.items():
        path = f"{name}.{key}"
        if key not in keys:
            raise unknown(path, key, [f"{name}.{each}" for each in keys], PATHS)
        values[key] = checked(path, value, (get_args(hints[key]) or (hints[key],))[0], **keys[key].metadata)
    return schema(**values)
