"""How well predicted responses explain measured responses: R², the noise ceiling, and the share of explainable variance.

Responses have shape (stimuli, units), or (stimuli, repeats, units) if stimuli were presented several times. NaN marks a
response that was not measured, so stimuli and units may have different numbers of repeats. Predictions have shape
(stimuli, units). Every result has one number for each unit, shape (units,), in the dtype of the responses. It is NaN if the
responses of the unit do not determine it.

For one unit, let yᵢ be the mean over the Rᵢ ≥ 1 measured responses to stimulus i, and ŷᵢ its prediction. Let m be the number of
these stimuli. The response is the sum of a signal and of independent noise of variance σ². The noise of the means has the power
N = (σ²/m) Σ 1/Rᵢ. Means and variances over stimuli divide by m.

References
----------
Sahani & Linden, How linear are auditory cortical responses?, NeurIPS 15, 2002 (signal power). Schoppe, Harper, Willmore, King &
Schnupp, Frontiers in Computational Neuroscience 10:10, 2016 (normalised correlation). Cadena et al., PLoS Computational Biology
15(4), 2019 (fraction of explainable variance explained).
"""

from dataclasses import dataclass

from array_api_compat import array_namespace

from manifolds import Array
from riemannrnn.backend import check_backend
from riemannrnn.cost.finite import check_no_infinity
from riemannrnn.cost.loss import observed_entries


def r_squared(responses: Array, predictions: Array) -> Array:
    """Return R² = 1 − Σ (yᵢ − ŷᵢ)² / Σ (yᵢ − ȳ)² over the measured stimuli of each unit, shape (units,).

    NaN if the mean responses of a unit do not vary.

    Parameters
    ----------
    responses
        Shape (stimuli, units) or (stimuli, repeats, units); NaN if not measured.
    predictions
        Shape (stimuli, units).

    Raises
    ------
    ValueError
        For arrays with shapes that do not fit, or infinite responses. For predictions that are not finite if a response was
        measured.
    """
    means = _Means.of(responses)
    return 1 - _ratio(means.average((means.responses - _checked(predictions, means)) ** 2), means.variance)


def noise_power(responses: Array) -> Array:
    """Return σ² = Σ (y_ir − yᵢ)² / Σ (Rᵢ − 1), the variance of the noise of each unit, shape (units,).

    It is unbiased if the number of repeats does not depend on the variance. NaN if no stimulus was repeated.

    Parameters
    ----------
    responses
        Shape (stimuli, repeats, units); NaN if not measured.

    Raises
    ------
    ValueError
        For responses without an axis of repeats, or infinite responses.
    """
    if responses.ndim != 3:
        raise ValueError(
            f"the responses have shape {tuple(responses.shape)}, but noise is estimated from repeats; pass the shape "
            "(stimuli, repeats, units), padded with NaN, or the noise power if it is known"
        )
    means = _Means.of(responses)
    xp, observed = array_namespace(responses), observed_entries(responses)
    residuals = xp.where(observed, responses - means.responses[:, None, :], 0.0)
    freedom = xp.sum(means.counts, axis=0) - means.stimuli
    return _ratio(xp.sum(residuals**2, axis=(0, 1)), freedom)


def signal_power(responses: Array, noise: Array | None = None) -> Array:
    """Return the variance of the signal over stimuli, V − (1 − 1/m) N with V the variance of the means, shape (units,).

    It is unbiased, and may therefore be negative if the signal is weak. With equal numbers of repeats it has the expected
    value of the estimator of Sahani and Linden.

    Parameters
    ----------
    responses
        Shape (stimuli, repeats, units), or (stimuli, units) if the noise is given; NaN if not measured.
    noise
        σ² of each unit, shape (units,), for example from more responses than these. Default: `noise_power` of the responses.

    Raises
    ------
    ValueError
        For responses without an axis of repeats if no noise is given, infinite responses, or noise of another shape.
    """
    means = _Means.of(responses)
    count = array_namespace(responses).where(means.stimuli > 0, means.stimuli, 1.0)
    return means.variance - (1 - 1 / count) * _noise_of_means(responses, means, noise)


def noise_ceiling(responses: Array, noise: Array | None = None) -> Array:
    """Return 1 − N / V, the R² that the true signal of each unit is expected to reach, shape (units,).

    Parameters
    ----------
    responses, noise
        As for `signal_power`.

    Raises
    ------
    ValueError
        As `signal_power` does.
    """
    means = _Means.of(responses)
    return 1 - _ratio(_noise_of_means(responses, means, noise), means.variance)


def explainable_variance_explained(responses: Array, predictions: Array, noise: Array | None = None) -> Array:
    """Return the share of the explainable variance that the predictions explain, R² over the noise ceiling, shape (units,).

    With M the mean squared error of the predictions, this is (V − M) / (V − N): near 1 for the true signal, 0 for the mean
    response, and above 1 by chance. NaN if the noise ceiling is not positive.

    Parameters
    ----------
    responses, noise
        As for `signal_power`.
    predictions
        Shape (stimuli, units).

    Raises
    ------
    ValueError
        As `r_squared` and `signal_power` do.
    """
    ceiling = noise_ceiling(responses, noise)
    return _ratio(r_squared(responses, predictions), ceiling)


def normalized_correlation(responses: Array, predictions: Array, noise: Array | None = None) -> Array:
    """Return Cov(ŷ, y) / √(Var(ŷ) SP) with the signal power SP of each unit, shape (units,): near 1 for the true signal.

    This is the correlation over the largest correlation that the noise allows. It ignores a wrong scale or a wrong mean of the
    predictions. NaN if the predictions do not vary or the signal power is not positive.

    Parameters
    ----------
    responses, noise
        As for `signal_power`.
    predictions
        Shape (stimuli, units).

    Raises
    ------
    ValueError
        As `r_squared` and `signal_power` do.
    """
    means = _Means.of(responses)
    predictions = _checked(predictions, means)
    predicted = predictions - means.average(predictions)
    covariance = means.average(predicted * (means.responses - means.average(means.responses)))
    xp, power = array_namespace(responses), signal_power(responses, noise)
    scale = means.average(predicted**2) * xp.where(power > 0, power, 0.0)
    return _ratio(covariance, scale**0.5)


@dataclass(frozen=True)
class _Means:
    """Mean responses yᵢ of each unit, 0 if not measured, and the numbers Rᵢ of responses, shape (stimuli, units)."""

    responses: Array
    counts: Array

    @classmethod
    def of(cls, responses: Array) -> "_Means":
        xp = array_namespace(responses)
        if responses.ndim not in (2, 3) or not xp.isdtype(responses.dtype, "real floating"):
            raise ValueError(
                f"the responses have shape {tuple(responses.shape)} and dtype {responses.dtype}; pass floating-point numbers "
                "of shape (stimuli, units) or (stimuli, repeats, units)"
            )
        check_no_infinity("responses", responses)
        several = responses if responses.ndim == 3 else responses[:, None, :]
        observed = observed_entries(several)
        counts = xp.sum(xp.astype(observed, responses.dtype), axis=1)
        total = xp.sum(xp.where(observed, several, 0.0), axis=1)
        return cls(total / xp.where(counts > 0, counts, 1.0), counts)

    @property
    def stimuli(self) -> Array:
        """The number of measured stimuli of each unit, m."""
        xp = array_namespace(self.counts)
        return xp.sum(xp.astype(self.counts > 0, self.counts.dtype), axis=0)

    @property
    def variance(self) -> Array:
        """The variance of the mean responses of each unit, V."""
        return self.average((self.responses - self.average(self.responses)) ** 2)

    def average(self, values: Array) -> Array:
        """Return the mean of values of shape (stimuli, units) over the measured stimuli of each unit."""
        xp = array_namespace(values)
        return _ratio(xp.sum(xp.where(self.counts > 0, values, 0.0), axis=0), self.stimuli)


def _checked(predictions: Array, means: _Means) -> Array:
    """Return the predictions, after a check that they fit the responses, 0 where nothing was measured."""
    xp = array_namespace(means.responses)
    check_backend("predictions", predictions, xp)
    if predictions.shape != means.responses.shape:
        raise ValueError(
            f"the predictions have shape {tuple(predictions.shape)}, but the responses are of {means.responses.shape[0]} "
            f"stimuli and {means.responses.shape[1]} units; pass one prediction for each stimulus and unit"
        )
    predictions = xp.where(means.counts > 0, xp.astype(predictions, means.responses.dtype), 0.0)
    if not bool(xp.all(xp.isfinite(predictions))):
        raise ValueError("some predictions of measured responses are NaN or infinite; leave out stimuli without a fixed point")
    return predictions


def _noise_of_means(responses: Array, means: _Means, noise: Array | None) -> Array:
    """Return the power of the noise of the mean responses of each unit, N = (σ²/m) Σ 1/Rᵢ."""
    xp = array_namespace(responses)
    noise = noise_power(responses) if noise is None else noise
    check_backend("noise power", noise, xp)
    if noise.shape != means.responses.shape[1:]:
        raise ValueError(
            f"the noise power has shape {tuple(noise.shape)}, but there are {means.responses.shape[1]} units; pass one number "
            "for each unit"
        )
    return xp.astype(noise, responses.dtype) * means.average(1 / xp.where(means.counts > 0, means.counts, 1.0))


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Return the ratio, NaN if the denominator is not positive."""
    xp = array_namespace(denominator)
    positive = denominator > 0
    return xp.where(positive, numerator / xp.where(positive, denominator, 1.0), xp.nan)
