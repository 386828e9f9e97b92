"""Defaults of a comparison, apart from its code: `riemannrnn compare --help` shows them and imports no more than this."""

STABLE_BY = 0.01
"""The margin by which the fixed points of a comparison have to be stable, in units of 1/τ."""

MAX_SECONDS = 20.0
"""Seconds of computation that each contender may use."""
