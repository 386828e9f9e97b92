"""The base of the classifier and the regressor: parameters, the network, and its training."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from math import ceil, inf
from statistics import fmean
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from manifolds import Array, ManifoldError, Point
from manifolds.points import map_arrays
from riemannrnn.backend import check_unmasked
from riemannrnn.cost.losses import Loss
from riemannrnn.cost.problem import for_model
from riemannrnn.cost.task import Task
from riemannrnn.data import Dataset
from riemannrnn.equilibrium import Automatic, FixedPoints, SolverOptions
from riemannrnn.models import PARTS, Layer, RateNetwork, Response, Stack
from riemannrnn.network import Connectivity
from riemannrnn.rules.rule import Rule
from riemannrnn.settings import again, option
from riemannrnn.training.by_name import rule_on
from riemannrnn.training.guard import UnstableStartError
from riemannrnn.training.history import History
from riemannrnn.training.options import NetworkOptions, TrainingOptions
from riemannrnn.training.outcome import START, LossNotFallenWarning
from riemannrnn.training.training import single_residual, train

LARGEST_BATCH = 200
"""Default limit of the number of samples in a step."""

STEPS = 10
"""Default number of steps in an epoch, if batches do not become too large."""

INNER_ITERATIONS = 10
"""Iterations of conjugate gradients for one gradient in the response metric; every iterate is a descent direction."""


@dataclass(frozen=True)
class EstimatorOptions(NetworkOptions, TrainingOptions):
    """The allowed parameters of an estimator: the options of its network and of its training."""

    by_name: ClassVar[bool] = True

    bias: float = option(1.0, "Standard deviation of the constant drives of the units.", least=0, below=inf)
    epochs: int = again(TrainingOptions, "epochs", 20, least=1)
    tolerance: float | None = again(SolverOptions, "tolerance", None, below=inf)


@dataclass(frozen=True)
class Model:
    """The state of a fitted estimator, independent of later changes of parameters; plain values, so that it can be stored."""

    options: EstimatorOptions
    n_features: int
    n_outputs: int
    dtype: Any
    seed: int

    @property
    def trained(self) -> tuple[str, ...]:
        """The kinds of trained parameters; the default with several layers is all."""
        return self.options.trained or (PARTS if self.options.layers else ("recurrent",))

    @property
    def n_inputs(self) -> int:
        """Number of inputs: one more than the number of features, unless biases are trained."""
        return self.n_features + ("bias" not in self.trained)

    def network(self, dtype: Any, connectivity: Connectivity | None = None) -> Any:
        """Return the network."""
        options = {"activation": self.options.activation, "seed": self.seed, "dtype": dtype}
        signs: dict[str, Any] = {"signs": self.options.signs, "inhibitory": self.options.inhibitory}
        if self.options.layers is None and self.trained == ("recurrent",):
            return RateNetwork(
                self.options.n_units, self.n_inputs, self.n_outputs, connectivity=connectivity, **options, **signs
            )
        layers = [Layer(n_units, **signs) for n_units in self.options.layers or (self.options.n_units,)]
        return Stack(layers, self.n_inputs, self.n_outputs, trained=self.trained, **options)

    def stimuli(self, X: Array) -> Array:
        """Return the samples. If no bias is trained, a constant input gives each unit its own constant drive."""
        if "bias" in self.trained:
            return X
        constant = self.options.bias * (self.n_features + 1) ** 0.5  # W_in has entries of variance 1 / n_inputs
        return np.concatenate([X, np.full_like(X[:, :1], constant)], axis=1)

    def place(self, stimuli: Array) -> tuple[Task, Rule]:
        """Return the task at its start, and the rule."""
        chosen = self.options.resolved(not self.network(self.dtype).one_matrix)
        data = Dataset("samples", stimuli, np.zeros(len(stimuli), np.int64))  # no manifold uses the labels
        network, radius = self.network(self.dtype), self.options.radius
        try:
            start = network.initial_weights(radius) if network.one_matrix else network.flat(network.initial_parameters(radius))
            task = Task(network, start, data, data, data, inner_iterations=INNER_ITERATIONS)
            return rule_on(task, str(chosen.rule), chosen.manifold)
        except ManifoldError as error:
            raise ValueError(f"radius = {radius!r}: too large for the manifold; {error}") from error

    @property
    def residual(self) -> float:
        """Default tolerance of fixed points."""
        return single_residual(min(self.options.layers or (self.options.n_units,)))


OPTIONS = frozenset(each.name for each in fields(EstimatorOptions))
"""The names of the options of an estimator."""


class FixedPointEstimator(BaseEstimator):
    """A network as a scikit-learn estimator, without a meaning of its outputs."""

    _model: Model
    _connectivity: Connectivity
    _unique: bool
    history_: History
    loss_curve_: list[float]

    def __init__(
        self,
        n_units: int = 100,
        *,
        signs: Array | None = None,
        inhibitory: float | None = None,
        layers: Sequence[int] | None = None,
        trained: Sequence[str] | None = None,
        activation: str = "tanh",
        radius: float = 0.5,
        bias: float = 1.0,
        rule: str | None = None,
        manifold: str | None = None,
        learning_rate: float | None = None,
        schedule: str | None = None,
        decay: float = 0.0,
        batch_size: int | None = None,
        epochs: int = 20,
        tolerance: float | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.n_units = n_units
        self.signs = signs
        self.inhibitory = inhibitory
        self.layers = layers
        self.trained = trained
        self.activation = activation
        self.radius = radius
        self.bias = bias
        self.rule = rule
        self.manifold = manifold
        self.learning_rate = learning_rate
        self.schedule = schedule
        self.decay = decay
        self.batch_size = batch_size
        self.epochs = epochs
        self.tolerance = tolerance
        self.random_state = random_state

    @property
    def weights_(self) -> Point:
        """The recurrent weights W, shape (n_units, n_units), or on the low-rank manifold its factors (u, s, vᵀ).

        If more is trained, all trained parameters, flat; `parameters_` holds them by name.
        """
        return self.history_.weights

    @property
    def parameters_(self) -> dict[str, Point]:
        """The trained parameters by name: "layers.0.recurrent" is W of the lowest layer."""
        return self.history_.parameters

    @property
    def network_(self) -> Any:
        """The network, a `RateNetwork` or a `Stack`, in float64; without trained biases its last input is constant."""
        return self._model.network(np.float64, self._connectivity)

    def fixed_points(self, X: Array) -> FixedPoints:
        """Return the fixed points r = f(W r + W_in s) of the samples X, computed in float64.

        Parameters
        ----------
        X
            Shape (n_samples, n_features).

        Returns
        -------
        FixedPoints
            Rates of shape (n_samples, n_units), residual, stability and status of each sample. A sample without a fixed point
            is marked in `converged`, and does not affect others. For several layers, the fixed points of the highest layer.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            Before `fit`.
        ValueError
            For samples that do not have the form of the training samples.
        """
        return self._response(X).fixed_points

    def _response(self, X: Array) -> Response:
        """Return the response to samples, computed in float64."""
        check_is_fitted(self)
        check_unmasked("samples", X)
        stimuli = self._model.stimuli(validate_data(self, X, dtype=np.float64, reset=False))
        weights, network = map_arrays(lambda array: array.astype(np.float64), self.weights_), self.network_
        solver = Automatic("splitting") if self._unique else "auto"
        response: Response = network.respond(weights, network.prepare(stimuli), SolverOptions(solver))
        return response

    def _outputs(self, X: Array) -> Array:
        """Return W_out r in the dtype of training, shape (n_samples, k); warn about samples without a fixed point."""
        response = self._response(X)
        failed = np.any([~(layer.residual <= self._model.residual) for layer in response.layers], axis=0)
        if failed.any():
            first = int(failed.argmax())
            found = next(layer for layer in response.layers if not layer.residual[first] <= self._model.residual)
            warnings.warn(
                f"{failed.sum()} of {len(failed)} samples have no fixed point; they are predicted from where iteration ended. "
                f"The first is sample {first}: {found.status[first]} Scale the features, or train on another manifold.",
                ConvergenceWarning,
                stacklevel=3,
            )
        return response.outputs.astype(self._model.dtype)

    def _learn(self, X: Array, loss: Loss, n_outputs: int, online: bool = False) -> Self:
        """Train a new network; with `online`, train an existing network for one more epoch."""
        options = self._checked()
        if online and self._trained():
            before, curve, model = self.history_, self.loss_curve_, self._model
        else:
            seed = int(check_random_state(self.random_state).randint(2**31))
            before, curve, model = None, [], Model(options, X.shape[1], n_outputs, X.dtype, seed)
        stimuli = model.stimuli(X)
        task, rule = model.place(stimuli)
        unique = for_model(rule.parameterization, task.network).promises(task.network.recurrent)
        batch_size = min(options.batch_size or min(ceil(len(X) / STEPS), LARGEST_BATCH), len(X))
        per_epoch = ceil(len(X) / batch_size)
        chosen = replace(options, rule=model.options.rule, manifold=model.options.manifold)
        chosen = chosen.resolved(not task.network.one_matrix)
        if online:
            chosen = replace(chosen, schedule="constant", epochs=1)
        settled: dict[str, Any] = {"rule": rule, "manifold": None, "batch_size": batch_size}
        settled["seed"] = np.random.default_rng((model.seed, len(curve)))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", LossNotFallenWarning)  # reported below, in scikit-learn's form
                history = train(
                    task.network,
                    before or task.weights,
                    stimuli,
                    loss,
                    **chosen.part(TrainingOptions) | settled,
                    tolerance=model.residual if unique and options.tolerance is None else options.tolerance,
                    progress=False,
                )
        except UnstableStartError as error:
            reason = str(error).removesuffix(START).rstrip()
            if before is None:
                raise ValueError(f"radius = {options.radius!r}: too large for these samples; {reason} Choose less") from error
            raise ValueError(
                f"training cannot continue: {reason} Pass samples like those that the model was trained on, or fit it again"
            ) from error
        if history.failed or history.interrupted or not (online or history.loss_fell):
            remedy = (
                "" if history.interrupted else " With features scaled, or a smaller learning_rate, training may go further."
            )
            warnings.warn(f"{history.stopped} The weights reached are kept.{remedy}", ConvergenceWarning, stacklevel=3)
        connectivity = task.network.connectivities[0]
        self._model, self._connectivity, self._unique, self.history_ = model, connectivity, unique, history
        epoch_losses = [fmean(history.loss[k : k + per_epoch]) for k in range(0, len(history.loss), per_epoch)]
        self.loss_curve_ = curve + epoch_losses
        self.n_iter_ = len(self.loss_curve_)
        return self

    @contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """Restore attributes, such as the number of features, if the data are rejected in the end."""
        before = self.__dict__.copy()
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _trained(self) -> bool:
        return "_model" in vars(self)

    def __sklearn_is_fitted__(self) -> bool:
        return self._trained()

    def _dtypes(self, first: bool) -> Any:
        """Return the dtypes to which samples are converted: the dtype of the weights, once they exist."""
        return [np.float64, np.float32] if first else self._model.dtype

    def _checked(self) -> EstimatorOptions:
        """Return the parameters, after a check that they are valid."""
        given = {name: value for name, value in self.get_params(deep=False).items() if name in OPTIONS}
        if isinstance(self.signs, np.ndarray):
            given["signs"] = self.signs.tolist()
        options = EstimatorOptions(**given)
        if options.signs and len(options.layers or ()) > 1:
            raise ValueError("signs belong to the units of one layer; pass inhibitory, the share in each layer, or one layer")
        return options.keeping_signs() if options.signs or options.inhibitory is not None else options


def checked_weights(sample_weight: Array | None, X: Array) -> Array | None:
    """Return the weights of samples as scikit-learn checks them; None if all are 1.

    Raises
    ------
    ValueError
        For another number of weights. The loss checks that weights are finite and not negative.
    """
    if sample_weight is None:
        return None
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape not in ((), (len(X),)):
        raise ValueError(
            f"sample_weight has shape {weights.shape}, but there are {len(X)} samples; pass one weight for each sample"
        )
    return np.broadcast_to(weights, (len(X),))
