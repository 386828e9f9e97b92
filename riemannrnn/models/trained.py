"""Trained models: a network with its parameters and everything needed to predict from raw stimuli."""

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial, reduce
from importlib.metadata import version
from pathlib import Path
from typing import final

import numpy as np

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.points import Point, all_finite, map_arrays
from manifolds.summary import Summarised
from riemannrnn.backend import Namespace, as_array, to_backend
from riemannrnn.data import Standardisation
from riemannrnn.equilibrium.options import SolverOptions
from riemannrnn.equilibrium.solver import Solver
from riemannrnn.equilibrium.solving import SOLVERS
from riemannrnn.models.answers import ANSWERS, Answer
from riemannrnn.models.architecture import ArchitectureError, described, network_of
from riemannrnn.models.chunks import chunks, joined
from riemannrnn.models.model import Model
from riemannrnn.models.response import Response
from riemannrnn.state_file import Kind, read_state, write_state

MODEL_FILE = "model.npz"
"""File name of the model in a run folder."""


class ModelFileError(ValueError):
    """A model cannot be saved, or a file holds no model that can be used."""


MODEL = Kind("model", b"riemannrnn model 1\n", ModelFileError, at_end=True)
"""The file type of models."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class TrainedModel(Summarised):
    """A network with its parameters, which predicts from stimuli in their original form.

    Training continues from it with `train(model.network, model, stimuli, labels)`, with stimuli after `model.standardisation`,
    if there is one. The same rule continues from `point`, without its memory; another rule starts from `weights`.

    Parameters
    ----------
    network
        The network.
    weights
        Its trained parameters, flat.
    answer
        The meaning of its outputs.
    standardisation
        The standardisation of stimuli. None: they are used unchanged.
    inputs
        The names of the columns of the stimuli; none if they have no names.
    solving
        The options for solving fixed points, with a solver by name.
    provenance
        How the model was made, as texts: versions, rule and manifold.
    point
        The point of the manifold that represents the weights. None: it is computed from the weights.

    Examples
    --------
    >>> import numpy as np
    >>> from riemannrnn import RateNetwork, train
    >>> stimuli, labels = np.eye(3), np.array([2, 0, 1])
    >>> network = RateNetwork(n_units=10, n_inputs=3, n_outputs=3, seed=0)
    >>> history = train(network, network.initial_weights(), stimuli, labels, epochs=50, seed=0)
    >>> history.model.predict(stimuli)
    array([2, 0, 1])
    """

    network: Model
    weights: Point
    answer: Answer
    standardisation: Standardisation | None = None
    inputs: tuple[str, ...] = ()
    solving: SolverOptions = field(default_factory=SolverOptions)
    provenance: Mapping[str, str] = field(default_factory=dict)
    point: Point = None

    @property
    def parameters(self) -> dict[str, Point]:
        """The trained parameters by name: "layers.0.recurrent" is W of the lowest layer."""
        return self.network.named(self.weights)

    def predict(self, stimuli: Array) -> Array:
        """Return labels or targets in the form of the training data.

        Parameters
        ----------
        stimuli
            Shape (batch, n_inputs), in the form of the training data: they are standardised here, if the training data were.

        Returns
        -------
        Array
            Labels of shape (batch,), or numbers of shape (batch, n_outputs).

        Raises
        ------
        ValueError
            For stimuli of another shape, or stimuli that are not finite.
        FixedPointError
            If a stimulus has no fixed point; `respond` marks these stimuli instead.
        """
        return self.answer.decode(self._each(stimuli, lambda part: part.outputs))

    def respond(self, stimuli: Array) -> Response:
        """Return the fixed points of all layers (`layers[-1].rates`) and the outputs; `converged` marks which were found.

        It holds several arrays with the rates of all stimuli. `responses` does not.

        Raises
        ------
        ValueError
            As `predict` does.
        """
        batch = self._prepared(stimuli)
        return joined(self._responses(batch), batch)

    def responses(self, stimuli: Array) -> Iterator[Response]:
        """Yield the responses to chunks of the stimuli, in order: the rates of the largest layer of a chunk have 16 MB at most.

        Raises
        ------
        ValueError
            As `predict` does.
        """
        return (part for _, part in self._responses(self._prepared(stimuli)))

    def stability(self, stimuli: Array) -> Array:
        """Return the largest spectral abscissa of each stimulus over all layers, shape (batch,), negative where it is stable.

        It is in units of 1/τ. Raises as `predict` does.
        """
        maximum = self.network.namespace.maximum
        return self._each(stimuli, lambda part: reduce(maximum, (layer.stability() for layer in part.layers)))

    def _prepared(self, stimuli: Array) -> Array:
        """Return checked stimuli, standardised and in the form that the network takes."""
        stimuli = as_array("stimuli", stimuli, self.network.dtype, self.network.namespace)
        if self.standardisation is not None:
            width = self.standardisation.shift.size
            if stimuli.ndim != 2 or stimuli.shape[1] != width:
                raise ValueError(f"the stimuli have shape {tuple(stimuli.shape)}; this model takes (batch, {width})")
            stimuli = self.standardisation(stimuli)
        if not all_finite(stimuli):
            raise ValueError("a stimulus holds NaN or infinity, and the model has nothing to put in its place; leave it out")
        return self.network.prepare(stimuli)

    def _responses(self, batch: Array) -> Iterator[tuple[slice, Response]]:
        """Yield the rows of each chunk of a prepared batch, and the response to them."""
        for rows in chunks(self.network, batch.shape[0]):
            yield rows, self.network.respond(self.weights, batch[rows, ...], self.solving)

    def _each(self, stimuli: Array, function: Callable[[Response], Array]) -> Array:
        """Return a number or row for each stimulus, from the response to each chunk; raises `FixedPointError`."""
        found, xp = [], self.network.namespace
        for part in self.responses(stimuli):
            if not bool(xp.all(part.converged)):
                self.respond(stimuli).under("raise")  # the error counts and holds all stimuli, not one chunk
            found.append(function(part))
        return xp.concat(found)

    def save(self, path: Path | str) -> None:
        """Write the model into one npz file, without pickle, with a checksum over every byte.

        Raises
        ------
        ModelFileError
            For a user-defined activation, connectivity or network that is not registered.
        RunFolderError
            If the file cannot be written; an existing file is unchanged.
        """
        kinds = {kind: name for name, kind in ANSWERS.items()}
        try:
            network = described(self.network)
        except ArchitectureError as error:
            raise ModelFileError(f"the model cannot be saved: {error}") from error
        state = {
            "network": network,
            "weights": map_arrays(to_numpy, self.weights),
            "point": None if self.point is None else map_arrays(to_numpy, self.point),
            "answer": {"kind": kinds[type(self.answer)], **self.answer.tree()},
            "standardisation": None if self.standardisation is None else self.standardisation.arrays(),
            "inputs": self.inputs,
            "solving": vars(self.solving),
            "provenance": dict(self.provenance),
        }
        write_state(Path(path), MODEL, state)

    def summary(self) -> dict[str, object]:
        """Return the facts to print."""
        facts: dict[str, object] = {"network": repr(self.network), "answer": repr(self.answer)}
        if self.standardisation is not None:
            facts["stimuli"] = "standardised"
        return facts | {name: value for name, value in self.provenance.items() if name in ("rule", "manifold")}


def load_model(path: Path | str, backend: str | Namespace = "numpy") -> TrainedModel:
    """Return the model from a file or a run folder.

    Parameters
    ----------
    path
        A file that `TrainedModel.save` wrote, or the folder of a run.
    backend
        Backend of the weights, as for `RateNetwork`.

    Raises
    ------
    ModelFileError
        If the file cannot be read, is damaged or foreign, or holds an unknown kind of model.
    BackendError
        If the backend is not available.
    """
    path = Path(path) / MODEL_FILE if Path(path).is_dir() else Path(path)
    state = read_state(path, MODEL)
    there = partial(to_backend, backend=backend)
    try:
        answer = {name: value for name, value in state["answer"].items() if name != "kind"}
        return TrainedModel(
            network_of(state["network"], backend),
            map_arrays(there, state["weights"]),
            ANSWERS[state["answer"]["kind"]].from_tree(answer),
            state["standardisation"] and Standardisation.from_arrays(state["standardisation"]),
            state["inputs"],
            SolverOptions(**state["solving"]),
            state["provenance"],
            None if state["point"] is None else map_arrays(there, state["point"]),
        )
    except ArchitectureError as error:
        raise ModelFileError(f"{path} cannot be used here: {error}") from error
    except (AttributeError, KeyError, TypeError) as error:
        raise ModelFileError(
            f"{path} cannot be understood ({type(error).__name__}: {error}): another version of riemannrnn wrote it; load it "
            "with that version"
        ) from error


def named_solver(solver: str | Solver) -> str:
    """Return the name of a solver, or "auto" for a solver with its own options."""
    name = solver if isinstance(solver, str) else solver.name
    return name if isinstance(solver, str) or SOLVERS.get(name) == solver else "auto"


def versions() -> dict[str, str]:
    """Return the versions of the packages that determine a model."""
    return {"riemannrnn": version("riemannrnn"), "numpy": np.__version__, "python": platform.python_version()}
