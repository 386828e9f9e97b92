"""Stacks as torch modules, for torchdeq and as a monotone operator network; their parameters have the names of `Stack`."""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import torch

from benchmarks.monotone_network import MonotoneLayer
from manifolds import Array


class TorchdeqStack(torch.nn.Module):
    """Layers r = tanh(W r + V s + b) solved by torchdeq's plain iteration, with its implicit gradient.

    Parameters
    ----------
    start
        The parameters at the start, by the names of `Stack`.
    layers
        The number of layers.
    tolerance, batch, most
        Residual of fixed points (divided by the stimuli of a batch for adjoints), batch size, and most iterations.
    """

    def __init__(self, start: Mapping[str, Array], layers: int, tolerance: float, batch: int, most: int) -> None:
        import torchdeq

        super().__init__()
        self.layers, self.iterations = layers, 0.0
        self.values = torch.nn.ParameterDict(
            {name.replace(".", "/"): torch.nn.Parameter(torch.as_tensor(np.array(value))) for name, value in start.items()}
        )
        solvers = {"f_solver": "fixed_point_iter", "b_solver": "fixed_point_iter", "f_max_iter": most, "b_max_iter": most}
        tolerances = {"f_tol": tolerance, "b_tol": tolerance / batch, "f_stop_mode": "abs", "b_stop_mode": "abs"}
        self.solve = torchdeq.get_deq(core="indexing", ift=True, **solvers, **tolerances)

    def forward(self, stimuli: torch.Tensor) -> torch.Tensor:
        rates, self.iterations = stimuli, 0.0
        for layer in range(self.layers):
            W, V, b = (self.values[f"layers/{layer}/{kind}"] for kind in ("recurrent", "input", "bias"))
            drive = rates @ V.T + b
            found, information = self.solve(lambda r, W=W, drive=drive: torch.tanh(r @ W.T + drive), torch.tanh(drive))
            rates, self.iterations = found[-1], self.iterations + float(information["nstep"].max())
        return rates @ self.values["readout"].T + self.values["readout_bias"]

    def named(self) -> dict[str, Array]:
        """Return the parameters by the names of `Stack`."""
        return {name.replace("/", "."): value.detach().numpy().copy() for name, value in self.values.items()}


class MonotoneStack(torch.nn.Module):
    """Layers of a monotone operator network, and a linear readout.

    Parameters
    ----------
    sizes
        Number of inputs, of units of the layers, and of outputs.
    tolerance, most
        As for `MonotoneLayer`.
    """

    def __init__(self, sizes: Sequence[int], tolerance: float, most: int) -> None:
        super().__init__()
        pairs = pairwise(sizes[:-1])
        self.layers = torch.nn.ModuleList(MonotoneLayer(below, units, tolerance, most) for below, units in pairs)
        self.readout = torch.nn.Linear(sizes[-2], sizes[-1])

    def forward(self, stimuli: torch.Tensor) -> torch.Tensor:
        rates = stimuli
        for layer in self.layers:
            rates = layer(rates)
        return self.readout(rates)

    @property
    def iterations(self) -> int:
        """Iterations of all layers for the last batch."""
        return sum(layer.iterations for layer in self.layers)

    def named(self) -> dict[str, Array]:
        """Return the parameters by the names of `Stack`."""
        found = {"readout": self.readout.weight, "readout_bias": self.readout.bias}
        for number, layer in enumerate(self.layers):
            each = {"recurrent": layer.weights, "input": layer.inputs.weight, "bias": layer.inputs.bias}
            found |= {f"layers.{number}.{kind}": value for kind, value in each.items()}
        return {name: value.detach().numpy().copy() for name, value in found.items()}
