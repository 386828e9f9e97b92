"""Parts of the rows of a source, drawn at random without storing a list of all rows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riemannrnn.data.errors import DatasetError

BLOCK = 4096
"""Number of consecutive rows in a block; each part gets its share of every block."""


@dataclass(frozen=True)
class Part:
    """Rows of a source drawn at random, or all other rows.

    A proportional number of rows is drawn from each block of 4096 consecutive rows; the draw depends on the seed and the number
    of the block. The parts have exact sizes, and only one block needs memory.

    Parameters
    ----------
    total
        Rows of the source.
    drawn
        Number of drawn rows.
    seed
        Seed of the choice.
    others
        Whether the part consists of the rows that are not drawn.

    Raises
    ------
    DatasetError
        If one of the two parts would be empty.
    """

    total: int
    drawn: int
    seed: int
    others: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.drawn < self.total:
            raise DatasetError(f"{self.drawn} of {self.total} rows cannot be held out; hold out 1 to {self.total - 1}")

    def __len__(self) -> int:
        return self.total - self.drawn if self.others else self.drawn

    def before(self, row: int) -> int:
        """Return the number of rows of the part before a row of the source."""
        if row >= self.total:
            return len(self)
        block = row // BLOCK
        return int(self._until(block * BLOCK)) + int((self._of_block(block) < row).sum())

    def rows(self, places: range | NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the rows of the source at positions in the part."""
        wanted = np.asarray(places, np.int64)
        starts = self._until(np.arange(0, self.total, BLOCK))
        blocks = np.searchsorted(starts, wanted, side="right") - 1
        order = np.argsort(blocks, kind="stable")
        found = np.empty_like(wanted)
        for chosen in np.split(order, np.flatnonzero(np.diff(blocks[order])) + 1):
            if len(chosen):
                block = int(blocks[chosen[0]])
                found[chosen] = self._of_block(block)[wanted[chosen] - starts[block]]
        return found

    def _until(self, row: Any) -> Any:
        """Return the number of rows of the part before the first row of a block, or of several blocks."""
        drawn = self.drawn * row // self.total
        return row - drawn if self.others else drawn

    def _of_block(self, block: int) -> NDArray[np.int64]:
        """Return the rows of the part in a block, increasing."""
        start, stop = block * BLOCK, min(self.total, (block + 1) * BLOCK)
        count = self.drawn * stop // self.total - self.drawn * start // self.total
        order = start + np.random.default_rng([self.seed, block]).permutation(stop - start)
        return np.sort(order[count:] if self.others else order[:count])
