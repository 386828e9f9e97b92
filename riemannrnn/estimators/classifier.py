"""The classifier."""

from collections.abc import Hashable, Mapping
from typing import Any, Literal, Self, final

import numpy as np
from scipy.special import softmax
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import validate_data

from manifolds import Array
from riemannrnn.backend import check_unmasked
from riemannrnn.cost.losses import CrossEntropy
from riemannrnn.estimators.base import FixedPointEstimator, checked_weights
from riemannrnn.estimators.signature import extended

ClassWeight = Mapping[Hashable, float] | Literal["balanced"] | None


@final
class FixedPointClassifier(ClassifierMixin, FixedPointEstimator):
    """Classify by the fixed points of a recurrent network: softmax(W_out r) with r = f(W r + W_in s).

    By default only the recurrent weights W are trained, as in the paper: the read-in W_in and the readout W_out are random and
    fixed. `trained` and `layers` change this. A constant input gives each unit a constant drive. Scale the features to about
    unit variance first: with large features the units saturate, and training takes long.

    Parameters
    ----------
    n_units
        Number of recurrent units.
    signs
        Dale's law: 1 for each excitatory unit and −1 for each inhibitory unit. The weights from a unit then keep its sign: the
        manifold is "dale". Default: any signs.
    inhibitory
        In place of `signs` the share of inhibitory units in each layer, which are its last ones.
    layers
        Numbers of units of several layers, from the lowest, instead of `n_units`.
    trained
        The trained parameters: "recurrent", "input", "bias" and "readout". Default: only the recurrent weights, as in the
        paper; with `layers` all.
    activation
        f, by name.
    radius
        Approximate spectral radius of the weights at the start.
    bias
        Standard deviation of the constant drives of the units.
    rule
        "dW1" to "dW4", "kfac", "descent", "momentum" or "adam". Default: "descent" if a manifold is named; otherwise Adam
        on "scaled-monotone", where every sample has exactly one fixed point.
    manifold
        The metric of rules that need one, by its name in `riemannrnn compare --list`. Default: "resolvent" if a rule is
        named.
    learning_rate, schedule, decay
        As for `train`. With a rule or a manifold but no rate, a range test finds it; see `history_.learning_rate`.
    batch_size
        Number of samples in each step. Default: a tenth of all samples, but at most 200.
    epochs
        Passes through the samples in `fit`; `partial_fit` makes one.
    tolerance
        Tolerance of fixed points in training. Default: 1e-4 √n_units if they are unique, otherwise the default of the dtype.
    class_weight
        Weights of the classes by label, as everywhere in scikit-learn: labels that are left out have weight 1. "balanced": the
        weight is n_samples / (n_classes · number of samples of the class), so that all classes have the same total weight. It
        is multiplied with the weight of the sample. Default: all are 1.
    random_state
        Seed of the network and of the order of samples. None: NumPy's global state is used, as is usual in scikit-learn.

    Attributes
    ----------
    classes_
        The labels, sorted.
    weights_, network_
        The recurrent weights, and their `RateNetwork`.
    history_
        The `History` of the last call of `fit` or `partial_fit`.
    loss_curve_
        Mean loss of each epoch, in nats.
    n_iter_
        Number of epochs.
    n_features_in_, feature_names_in_
        As usual in scikit-learn.

    Notes
    -----
    float32 samples are trained in float32. A run that ends early (a step loses a fixed point, Ctrl-C) warns with the reason,
    and keeps its result so far.

    References
    ----------
    Zhu and Rosenbaum, *Neural Computation* 36(8), 2024.

    Examples
    --------
    >>> from riemannrnn import FixedPointClassifier
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), FixedPointClassifier(random_state=0)).fit(X, y)
    >>> model.score(X, y) > 0.95
    True
    >>> bool(model[-1].fixed_points(model[0].transform(X)).converged.all())
    True
    """

    def __init__(self, n_units: int = 100, *, class_weight: ClassWeight = None, **options: Any) -> None:
        super().__init__(n_units, **options)
        self.class_weight = class_weight

    __init__.__signature__ = extended(FixedPointEstimator.__init__, __init__)  # type: ignore[attr-defined]

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> Self:
        """Train a new network.

        Parameters
        ----------
        X
            Shape (n_samples, n_features), float32 or float64; other dtypes are converted.
        y
            Labels of any kind, shape (n_samples,), of at least two classes.
        sample_weight
            Weights of the samples, shape (n_samples,), 0 or more: a weight of 2 counts as two equal samples. Default: all 1.

        Raises
        ------
        ValueError
            For an invalid parameter or invalid data.
        """
        with self._as_it_was():
            X, y = self._samples(X, y, first=True)
            classes = np.unique(y)
            if classes.size < 2:
                raise ValueError(f"y holds one class only, {classes.tolist()[0]!r}; pass samples of two or more")
            return self._learn_classes(X, y, classes, sample_weight)

    def partial_fit(self, X: Array, y: Array, classes: Array | None = None, sample_weight: Array | None = None) -> Self:
        """Train for one epoch at a constant rate: the existing network, or a new network if there is none.

        Parameters
        ----------
        X, y
            As for `fit`; they need not contain all classes.
        classes
            All classes of this and later calls; needed in the first call.
        sample_weight
            As for `fit`.

        Raises
        ------
        ValueError
            As for `fit`. For balanced class weights, because a batch does not hold the shares of the classes. For a first call
            without classes, a later call with other classes, or unknown labels.
        """
        first = not self._trained()
        if isinstance(self.class_weight, str):
            raise ValueError(
                f"class_weight = {self.class_weight!r} needs the numbers of all samples, which partial_fit does not know; pass "
                "weights by label, such as sklearn.utils.compute_class_weight returns"
            )
        if first and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit; pass all labels that will ever be")
        with self._as_it_was():
            X, y = self._samples(X, y, first)
            known = self.classes_ if classes is None else np.unique(classes)
            if not first and not np.array_equal(known, self.classes_):
                raise ValueError(
                    f"classes = {classes!r} differ from the classes of the first call, {self.classes_.tolist()}; leave them out"
                )
            return self._learn_classes(X, y, known, sample_weight, online=True)

    def predict_proba(self, X: Array) -> Array:
        """Return the probability of each class, softmax(W_out r), shape (n_samples, n_classes)."""
        return softmax(self._outputs(X), axis=1)

    def predict(self, X: Array) -> Array:
        """Return the most probable label of each sample, shape (n_samples,)."""
        outputs = self._outputs(X)
        return self.classes_[outputs.argmax(axis=1)]

    def _samples(self, X: Array, y: Array, first: bool) -> tuple[Array, Array]:
        self._checked()  # an error leaves the estimator unchanged
        check_unmasked("samples", X)
        check_unmasked("labels", y)
        X, y = validate_data(self, X, y, dtype=self._dtypes(first), reset=first)
        check_classification_targets(y)
        return X, y

    def _learn_classes(self, X: Array, y: Array, classes: Array, sample_weight: Array | None, online: bool = False) -> Self:
        alien = np.setdiff1d(y, classes)
        if alien.size:
            raise ValueError(f"y holds {alien.tolist()[0]!r}, which is none of the classes; pass all of them at the first call")
        labels, weights = np.searchsorted(classes, y), checked_weights(sample_weight, X)
        if self.class_weight is not None:
            of_class = self._class_weights(classes, y)[labels]
            weights = of_class if weights is None else weights * of_class
        loss = CrossEntropy(labels, weights=weights)
        self._learn(X, loss, classes.size, online)
        self.classes_ = classes
        return self

    def _class_weights(self, classes: Array, y: Array) -> Array:
        """Return the weight of each class as scikit-learn defines it, shape (n_classes,)."""
        given = self.class_weight
        if not isinstance(given, Mapping) and given != "balanced":
            raise ValueError(f"class_weight = {given!r} is not known; pass weights by label, 'balanced' or None")
        return compute_class_weight(given, classes=classes, y=y)
