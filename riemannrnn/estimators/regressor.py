"""The regressor."""

from typing import Any, Self, final

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.utils.validation import validate_data

from manifolds import Array
from riemannrnn.analysis.repeats import Explained, explained
from riemannrnn.backend import check_unmasked
from riemannrnn.cost.losses import SquaredError
from riemannrnn.estimators.base import FixedPointEstimator, checked_weights


@final
class FixedPointRegressor(RegressorMixin, FixedPointEstimator):
    """Regress on the fixed points of a recurrent network: mean + scale · W_out r with r = f(W r + W_in s).

    The squared error of standardised targets is minimised. Only W is trained by default, as for `FixedPointClassifier`.

    Parameters
    ----------
    n_units, signs, inhibitory, layers, trained, activation, radius, bias, rule, manifold, learning_rate, schedule, decay
        As for `FixedPointClassifier`.
    batch_size, epochs, tolerance, random_state
        As for `FixedPointClassifier`.

    Attributes
    ----------
    target_mean_, target_scale_
        Mean and standard deviation of each target in `fit` or the first `partial_fit`; a constant target has scale 1.
    weights_, network_, history_, loss_curve_, n_iter_, n_features_in_, feature_names_in_
        As for `FixedPointClassifier`; the loss is ½ ‖W_out r − t‖² for standardised targets t.

    Examples
    --------
    >>> import numpy as np
    >>> from riemannrnn import FixedPointRegressor
    >>> X = np.linspace(-2, 2, 200)[:, None]
    >>> model = FixedPointRegressor(n_units=20, random_state=0).fit(X, np.cos(2 * X[:, 0]))
    >>> model.score(X, np.cos(2 * X[:, 0])) > 0.9
    True
    """

    target_mean_: Array
    target_scale_: Array

    def fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> Self:
        """Train a new network.

        Parameters
        ----------
        X
            Shape (n_samples, n_features), float32 or float64; other dtypes are converted.
        y
            Targets, shape (n_samples,) or (n_samples, n_targets).
        sample_weight
            Weights of the samples, shape (n_samples,), 0 or more: a weight of 2 counts as two equal samples. Default: all 1.

        Raises
        ------
        ValueError
            For an invalid parameter or invalid data.
        """
        return self._fit(X, y, sample_weight, first=True, online=False)

    def partial_fit(self, X: Array, y: Array, sample_weight: Array | None = None) -> Self:
        """Train for one epoch at a constant rate: the existing network, or a new network if there is none.

        The mean and the scale of the targets are kept from the first call; parameters and errors as for `fit`.
        """
        return self._fit(X, y, sample_weight, first=not self._trained(), online=True)

    def predict(self, X: Array) -> Array:
        """Return the targets, in their shape in training."""
        outputs = self._outputs(X)
        y = self.target_mean_ + self.target_scale_ * (outputs if self.target_mean_.ndim else outputs[:, 0])
        return y.astype(outputs.dtype, copy=False)

    def explained(self, X: Array, y: Array) -> Explained:
        """Return R² of each target, and with repeated samples the noise ceiling and the share of the explainable variance.

        Parameters
        ----------
        X
            Shape (n_samples, n_features). Equal samples are repeats of one stimulus.
        y
            Targets, shape (n_samples,) or (n_samples, n_targets); NaN where nothing was measured.

        Raises
        ------
        ValueError
            For samples unlike the training samples, or another number of targets.
        """
        predictions, measured, stimuli = self.predict(X), np.asarray(y, np.float64), np.asarray(X, np.float64)
        if measured.shape != predictions.shape:
            raise ValueError(f"y has shape {measured.shape}, but the predictions have {predictions.shape}; make them equal")
        return explained(stimuli, *(each.reshape(len(stimuli), -1) for each in (measured, predictions)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _fit(self, X: Array, y: Array, sample_weight: Array | None, first: bool, online: bool) -> Self:
        """Train; an error leaves the estimator unchanged."""
        self._checked()
        with self._as_it_was():
            check_unmasked("samples", X)
            check_unmasked("targets", y)
            X, y = validate_data(self, X, y, dtype=self._dtypes(first), reset=first, multi_output=True, y_numeric=True)
            y = y.astype(np.float64)
            if not first and y.shape[1:] != self.target_mean_.shape:
                raise ValueError(
                    f"y has shape {y.shape}, but targets were of shape {self.target_mean_.shape} each at the first call"
                )
            mean, scale = _standard(y) if first else (self.target_mean_, self.target_scale_)
            targets = ((y - mean) / scale).reshape(len(y), -1).astype(X.dtype)
            weights = checked_weights(sample_weight, X)
            self._learn(X, SquaredError(targets, weights=weights), y[0].size, online)
        self.target_mean_, self.target_scale_ = mean, scale
        return self


def _standard(y: Array) -> tuple[Array, Array]:
    """Return the mean and the standard deviation of each target; the latter is 1 for a constant target."""
    mean, spread = np.mean(y, axis=0), np.std(y, axis=0)
    constant = spread <= np.finfo(np.float64).eps * len(y) * abs(mean)
    return mean, np.where(constant, 1.0, spread)
