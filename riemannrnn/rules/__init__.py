"""Learning rules: how one step of training is computed."""

from typing import TYPE_CHECKING

from manifolds.interface import lazy_interface

if TYPE_CHECKING:
    from riemannrnn.rules.adam import Adam
    from riemannrnn.rules.descent import Descent
    from riemannrnn.rules.descent_check import DescentCheck, check_descent, descent_cosine
    from riemannrnn.rules.kfac import KFAC
    from riemannrnn.rules.momentum import Momentum
    from riemannrnn.rules.named import RULES, make_rule
    from riemannrnn.rules.paper import DeltaW3, DeltaW4, delta_w1, delta_w3, delta_w4
    from riemannrnn.rules.rule import Rule
else:
    __getattr__, __dir__ = lazy_interface(__name__)

__all__ = [
    "KFAC",
    "RULES",
    "Adam",
    "DeltaW3",
    "DeltaW4",
    "Descent",
    "DescentCheck",
    "Momentum",
    "Rule",
    "check_descent",
    "delta_w1",
    "delta_w3",
    "delta_w4",
    "descent_cosine",
    "make_rule",
]
