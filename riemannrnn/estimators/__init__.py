"""Estimators for scikit-learn: networks that are trained, evaluated and searched over like any other model."""

from riemannrnn.estimators.classifier import FixedPointClassifier
from riemannrnn.estimators.regressor import FixedPointRegressor

__all__ = ["FixedPointClassifier", "FixedPointRegressor"]
