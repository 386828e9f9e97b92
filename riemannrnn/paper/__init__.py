"""The figures of Zhu & Rosenbaum (2024), one module each, beside the values that the authors recorded."""

from riemannrnn.paper.figures import FIGURES, write_numbers, write_paper, write_reproduction
from riemannrnn.paper.mnist_experiment import Settings
from riemannrnn.paper.reproduction import Claim, Reproduction

__all__ = ["FIGURES", "Claim", "Reproduction", "Settings", "write_numbers", "write_paper", "write_reproduction"]
