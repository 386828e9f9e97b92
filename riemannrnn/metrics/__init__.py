"""Metrics that depend on stimuli, and the catalogue of all manifolds by name."""

from riemannrnn.metrics.aggregated import AggregatedMetric, aggregated_metric
from riemannrnn.metrics.response import ResponseMetric, response_metric

__all__ = ["AggregatedMetric", "ResponseMetric", "aggregated_metric", "response_metric"]
