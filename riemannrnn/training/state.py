"""The state of a run between two steps, and how a checkpoint stores it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array, Point
from manifolds.points import arrays_of, several
from riemannrnn.rules.rule import Memory, Rule
from riemannrnn.training.checkpoints import Checkpoint, CheckpointError
from riemannrnn.training.history import History
from riemannrnn.training.range_test import RangeTest
from riemannrnn.training.stepping import Last

REVISED = ("step_length", "shortened", "abscissa", "jumps")
"""Lists of the history with a last entry that may still change, because the step may be halved."""


@dataclass
class RunState:
    """The state of a run that changes from step to step, without its options.

    Attributes
    ----------
    history
        The history of the run so far.
    point, memory
        The current point, and the memory of the rule.
    generator
        Draws the orders of the stimuli.
    order
        The order of the current epoch, shape (stimuli,); None before the first epoch.
    last
        The previous step, which may still be halved.
    step
        Number of steps done.
    """

    history: History
    point: Point
    memory: Memory
    generator: np.random.Generator
    order: Array = None
    last: Last | None = None
    step: int = 0

    def snapshot(self) -> dict[str, Any]:
        """Return the entries of a checkpoint without the history; they do not change later."""
        history = self.history
        return {
            "step": self.step,
            "order": self.order,
            "point": self.point,
            "memory": self.memory,
            "last": None if self.last is None else [self.last.point, self.last.velocity, self.last.memory],
            "generator": self.generator.bit_generator.state,
            "guarded": len(history.guard_reasons),
            "learning_rate": history.learning_rate,
            "range_test": None if history.range_test is None else history.range_test.as_tree(),
            "revised": {name: getattr(history, name)[-1:] for name in REVISED},
        }

    def with_history(self, snapshot: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entries of a checkpoint: a snapshot, with the lists of the history at the time of the snapshot."""
        history = {name: values[: snapshot["step"]] for name, values in self.history.records().items()}
        for name, values in snapshot["revised"].items():
            history[name][-1:] = values
        history["guard_reasons"] = self.history.guard_reasons[: snapshot["guarded"]]
        return {**snapshot, "history": history}

    def restore(self, checkpoint: Checkpoint, rule: Rule, drive: Array) -> None:
        """Restore the entries of a checkpoint.

        Parameters
        ----------
        checkpoint
            The state of the same run after a step.
        rule
            The rule of the run.
        drive
            The drive of the stimuli; the arrays are moved to its namespace and device.

        Raises
        ------
        CheckpointError
            If an entry is missing or cannot be read.
        """
        history, placed = self.history, placing(drive)
        lists = checkpoint.read("history", all_of([*history.records(), "guard_reasons"]))
        self.step = checkpoint.read("step", _count)
        self.order = checkpoint.read("order", lambda value: value if value is None else placed(_array(value)))
        self.point = checkpoint.read("point", lambda value: _like(self.point, placed(value)))
        self.memory = checkpoint.read("memory", placed)
        self.last = checkpoint.read("last", lambda value: None if value is None else _last(rule, *placed(value)))
        checkpoint.read("generator", lambda value: setattr(self.generator.bit_generator, "state", value))
        history.learning_rate = checkpoint.read("learning_rate", float)
        history.range_test = checkpoint.read("range_test", lambda value: None if value is None else RangeTest.from_tree(value))
        for name, values in lists.items():
            setattr(history, name, values)


def refuse_another(checkpoint: Checkpoint, described: Mapping[str, Any]) -> None:
    """Check that a checkpoint belongs to a run with the same options and data; the error names the differences.

    Raises
    ------
    CheckpointError
        If something differs, or the checkpoint lacks the information.
    """
    before = checkpoint.read("run", all_of(described))
    changed = ", ".join(f"{name} was {before[name]}, now {now}" for name, now in described.items() if before[name] != now)
    if changed:
        raise CheckpointError(
            f"the checkpoint is of another run: {changed}; resume with the arguments that the run was started with"
        )


def all_of(names: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function that returns the entries with these names."""
    return lambda entries: {name: entries[name] for name in names}


def placing(drive: Array) -> Callable[[Any], Any]:
    """Return a function that moves the arrays of a tree to the namespace and device of the drive."""
    there, place = array_namespace(drive), device(drive)

    def placed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return there.asarray(value, device=place)
        if isinstance(value, dict):
            return {name: placed(item) for name, item in value.items()}
        return type(value)(map(placed, value)) if isinstance(value, list | tuple) else value

    return placed


def _last(rule: Rule, before: Any, velocity: Any, memory: Any) -> Last:
    if several(velocity):  # stored vectors are plain lists; this restores their arithmetic
        velocity = rule.manifold.to_tangent_space(before, velocity)  # type: ignore[attr-defined]
    return Last(before, velocity, memory)


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a number of steps")
    return value


def _like(point: Point, value: Any) -> Point:
    """Return the value, after a check that its arrays have the shapes of another point."""
    parts, wanted = arrays_of(value), [tuple(part.shape) for part in arrays_of(point)]
    if [np.shape(part) for part in parts] != wanted:
        raise ValueError(f"it is not of the shape {', '.join(map(str, wanted))} of the start")
    return value


def _array(value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{value!r} is not an array")
    return value
