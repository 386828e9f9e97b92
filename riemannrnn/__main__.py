"""`python -m riemannrnn`."""

from riemannrnn.cli import app

app()
