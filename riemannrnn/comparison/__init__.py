"""Comparisons of manifolds and optimisers on one task."""

from riemannrnn.comparison.comparison import Comparison, compare
from riemannrnn.comparison.contenders import Contender, all_contenders
from riemannrnn.comparison.same_dtype import SameDtypeConjugateGradient, SameDtypeTrustRegions

__all__ = ["Comparison", "Contender", "SameDtypeConjugateGradient", "SameDtypeTrustRegions", "all_contenders", "compare"]
