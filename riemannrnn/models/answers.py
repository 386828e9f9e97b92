"""The meaning of the outputs of a trained network: labels of classes, or numbers in the units of the targets."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from manifolds import Array
from manifolds.arrays import to_numpy
from manifolds.summary import Summarised


class Answer(Summarised):
    """The meaning of the outputs of a network.

    Attributes
    ----------
    names
        Names of the columns of the targets; none if they have no names.
    """

    names: tuple[str, ...]

    @abstractmethod
    def decode(self, outputs: Array) -> Array:
        """Return labels or targets from outputs of shape (batch, n_outputs)."""

    @abstractmethod
    def tree(self) -> dict[str, Any]:
        """Return plain values and arrays, from which `from_tree` makes an equal object."""

    @classmethod
    @abstractmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        """Return the object whose `tree` method returned this tree."""


@final
@dataclass(frozen=True, eq=False, repr=False)
class Labels(Answer):
    """The label of the largest output.

    Parameters
    ----------
    values
        The label of each output, shape (n_outputs,): numbers, truth values or texts.
    names
        The name of the column of the labels.
    """

    values: NDArray[Any]
    names: tuple[str, ...] = ()

    def decode(self, outputs: Array) -> Array:
        """Return labels of shape (batch,): numbers on the backend of the outputs, or texts in a NumPy array."""
        xp = array_namespace(outputs)
        places = xp.argmax(outputs, axis=1)
        if self.values.dtype.kind == "U":
            return self.values[to_numpy(places)]
        return xp.take(xp.asarray(self.values, device=device(outputs)), places)

    def tree(self) -> dict[str, Any]:
        return {"values": self.values.tolist(), "dtype": self.values.dtype.str, "names": self.names}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        return cls(np.array(tree["values"], tree["dtype"]), tuple(tree["names"]))

    def summary(self) -> dict[str, object]:
        shown = ", ".join(map(str, self.values[:5].tolist())) + (" …" if self.values.size > 5 else "")
        return {"classes": self.values.size, "labels": shown}


@final
@dataclass(frozen=True, eq=False, repr=False)
class Numbers(Answer):
    """The numbers shift + scale · y of outputs y.

    Parameters
    ----------
    shift, scale
        Shift and scale of each output, shape (n_outputs,), float64. None: the outputs are the numbers.
    names
        The names of the columns of the targets.
    """

    shift: NDArray[np.float64] | None = None
    scale: NDArray[np.float64] | None = None
    names: tuple[str, ...] = ()

    def decode(self, outputs: Array) -> Array:
        """Return numbers of shape (batch, n_outputs), in the dtype of the outputs."""
        if self.shift is None or self.scale is None:
            return outputs
        shift, scale = (self._like(outputs, each) for each in (self.shift, self.scale))
        return shift + scale * outputs

    def encode(self, targets: Array) -> Array:
        """Return the outputs that `decode` turns into these numbers, in the dtype of the targets; NaN stays NaN."""
        if self.shift is None or self.scale is None:
            return targets
        shift, scale = (self._like(targets, each) for each in (self.shift, self.scale))
        return (targets - shift) / scale

    @staticmethod
    def _like(numbers: Array, values: NDArray[np.float64]) -> Array:
        xp = array_namespace(numbers)
        return xp.asarray(values.astype(str(numbers.dtype).rpartition(".")[2]), device=device(numbers))[None, :]

    def tree(self) -> dict[str, Any]:
        return {"shift": self.shift, "scale": self.scale, "names": self.names}

    @classmethod
    def from_tree(cls, tree: Mapping[str, Any]) -> Self:
        return cls(tree["shift"], tree["scale"], tuple(tree["names"]))

    def summary(self) -> dict[str, object]:
        return {"targets": ", ".join(self.names) or "outputs", "scaled": self.shift is not None}


ANSWERS: dict[str, type[Answer]] = {"labels": Labels, "numbers": Numbers}
"""The meanings of outputs that can be saved, by name."""
