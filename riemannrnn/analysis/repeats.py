"""R², noise ceiling and share of explainable variance of a regression whose rows may repeat a stimulus."""

from dataclasses import dataclass
from typing import final

import numpy as np

from manifolds import Array
from manifolds.summary import Summarised
from riemannrnn.analysis.explainable import explainable_variance_explained, noise_ceiling, r_squared


@final
@dataclass(frozen=True, eq=False, repr=False)
class Explained(Summarised):
    """How well predictions explain responses; every array has one number for each target, shape (n_targets,).

    Attributes
    ----------
    r_squared
        R² of the mean response to each stimulus, NaN where the responses do not vary.
    noise_ceiling
        The R² that the true signal is expected to reach, NaN without repeats.
    share
        R² over the noise ceiling, NaN where the ceiling is not positive.
    """

    r_squared: Array
    noise_ceiling: Array
    share: Array

    def summary(self) -> dict[str, object]:
        """Return the means over the targets that have a value."""
        facts: dict[str, object] = {"targets": len(self.r_squared)}
        named = {"R²": self.r_squared, "noise ceiling": self.noise_ceiling, "share of explainable variance": self.share}
        return facts | {name: f"{_mean(values):.3f}" for name, values in named.items() if np.isfinite(values).any()}

    def sentence(self) -> str:
        """Return the means in a sentence, with the noise ceiling if stimuli were repeated; nothing if no response varies."""
        count = len(self.r_squared)
        parts = [f"{name} {value}" for name, value in self.summary().items() if name != "targets"]
        over = f", means over {count} targets" if count > 1 else ""
        return f"{', '.join(parts)}{over}" if parts else ""


def explained(stimuli: Array, responses: Array, predictions: Array) -> Explained:
    """Return how well predictions explain responses. Rows with equal stimuli are repeats of one stimulus.

    Parameters
    ----------
    stimuli
        Shape (rows, n_inputs).
    responses
        Shape (rows, n_targets), NaN where nothing was measured.
    predictions
        Shape (rows, n_targets), equal for equal stimuli.

    Raises
    ------
    ValueError
        For infinite responses, or predictions that are not finite where a response was measured.
    """
    _, first, group = np.unique(stimuli, axis=0, return_index=True, return_inverse=True)
    repeated, predictions = by_stimulus(group.reshape(-1), responses), predictions[first]
    return Explained(
        r_squared(repeated, predictions),
        noise_ceiling(repeated),
        explainable_variance_explained(repeated, predictions),
    )


def by_stimulus(group: Array, responses: Array) -> Array:
    """Return responses of shape (stimuli, repeats, n_targets), padded with NaN.

    Parameters
    ----------
    group
        The number of the stimulus of each row, from 0, shape (rows,).
    responses
        Shape (rows, n_targets).
    """
    order = np.argsort(group, kind="stable")
    counts = np.bincount(group)
    repeat = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    padded = np.full((len(counts), int(counts.max(initial=1)), responses.shape[1]), np.nan, responses.dtype)
    padded[group[order], repeat] = responses[order]
    return padded


def _mean(values: Array) -> float:
    return float(np.mean(values[np.isfinite(values)]))
