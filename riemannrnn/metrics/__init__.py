"""Metrics that depend on stimuli, and the catalogue of all manifolds by name."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.metrics.aggregated import AggregatedMetric, aggregated_metric
    from riemannrnn.metrics.response import ResponseMetric, response_metric
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = ["AggregatedMetric", "ResponseMetric", "aggregated_metric", "response_metric"]
