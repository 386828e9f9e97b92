"""Analysis: a run of learning as a path on a manifold, and how well predicted responses explain measured responses."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.analysis.explainable import (
        explainable_variance_explained,
        noise_ceiling,
        noise_power,
        normalized_correlation,
        r_squared,
        signal_power,
    )
    from riemannrnn.analysis.learning_path import LearningPath
    from riemannrnn.analysis.path_metrics import DEFAULT_METRICS, METRIC_NAMES, make_metric
    from riemannrnn.analysis.recorded import RecordedRun, RecordedRunError, read_run
    from riemannrnn.analysis.recording import PathRecorder
    from riemannrnn.analysis.repeats import Explained, explained
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "DEFAULT_METRICS",
    "METRIC_NAMES",
    "Explained",
    "LearningPath",
    "PathRecorder",
    "RecordedRun",
    "RecordedRunError",
    "explainable_variance_explained",
    "explained",
    "make_metric",
    "noise_ceiling",
    "noise_power",
    "normalized_correlation",
    "r_squared",
    "read_run",
    "signal_power",
]
