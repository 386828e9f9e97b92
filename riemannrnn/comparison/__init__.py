"""Comparisons of manifolds and optimisers on one task."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.comparison.comparison import Comparison, compare
    from riemannrnn.comparison.contenders import Contender, all_contenders
    from riemannrnn.comparison.same_dtype import SameDtypeConjugateGradient, SameDtypeTrustRegions
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = ["Comparison", "Contender", "SameDtypeConjugateGradient", "SameDtypeTrustRegions", "all_contenders", "compare"]
