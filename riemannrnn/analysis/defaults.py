"""Defaults of an analysis, apart from its code: `riemannrnn geodesics --help` shows them and imports no more than this."""

MOST_STIMULI = 300
"""Stimuli on which a recorded run is analysed, by default."""
