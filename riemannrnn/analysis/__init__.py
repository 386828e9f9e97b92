"""Analysis: what a run of learning did, seen as a path on a manifold."""

from riemannrnn.analysis.learning_path import LearningPath
from riemannrnn.analysis.path_metrics import DEFAULT_METRICS, METRIC_NAMES, make_metric
from riemannrnn.analysis.recorded import RecordedRun, RecordedRunError, read_run
from riemannrnn.analysis.recording import PathRecorder

__all__ = [
    "DEFAULT_METRICS",
    "METRIC_NAMES",
    "LearningPath",
    "PathRecorder",
    "RecordedRun",
    "RecordedRunError",
    "make_metric",
    "read_run",
]
