"""Resuming: a training run takes up the state of a checkpoint, entry by entry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from array_api_compat import array_namespace, device

from manifolds import Array, Point
from riemannrnn.training.checkpoints import Checkpoint, CheckpointError
from riemannrnn.training.range_test import RangeTest
from riemannrnn.training.stepping import Last

if TYPE_CHECKING:
    from riemannrnn.training.run import Run


def restore(run: Run, checkpoint: Checkpoint, described: Mapping[str, Any]) -> None:
    """Put the entries of a checkpoint in their places in a run.

    Parameters
    ----------
    run
        A run that has not begun.
    checkpoint
        The state of the same run after a step.
    described
        What has to be the same in both runs, by the names of arguments.

    Raises
    ------
    CheckpointError
        If the checkpoint is of another run, or one of its entries is missing or cannot be read.
    """
    _refuse_another(checkpoint.read("run", _all_of(described)), described)
    history, placed = run.history, _placing(run.cost.drive)
    lists = checkpoint.read("history", _all_of([*history.records(), "guard_reasons"]))
    run.step = checkpoint.read("step", _count)
    run.batches.order = checkpoint.read("order", lambda value: value if value is None else placed(_array(value)))
    run.point = checkpoint.read("point", lambda value: _like(run.point, placed(value)))
    run.memory = checkpoint.read("memory", placed)
    run.last = checkpoint.read("last", lambda value: None if value is None else _last(run, *placed(value)))
    checkpoint.read("generator", lambda value: setattr(run.batches.generator.bit_generator, "state", value))
    history.learning_rate = checkpoint.read("learning_rate", float)
    history.range_test = checkpoint.read("range_test", lambda value: None if value is None else RangeTest.from_tree(value))
    for name, values in lists.items():
        setattr(history, name, values)
    restore_record = (lambda state: None) if run.record is None else run.record.restore
    checkpoint.read("record", lambda value: restore_record(placed(value)))


def _refuse_another(before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = ", ".join(f"{name} was {before[name]}, now {now[name]}" for name in now if before[name] != now[name])
    if changed:
        raise CheckpointError(
            f"the checkpoint is of another run: {changed}; resume with the arguments that the run was started with"
        )


def _all_of(names: Any) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Return a function that returns the entries of these names."""
    return lambda entries: {name: entries[name] for name in names}


def _last(run: Run, before: Any, velocity: Any, memory: Any) -> Last:
    if isinstance(velocity, list | tuple):  # which has to get the arithmetic of tangent vectors back
        velocity = run.rule.manifold.to_tangent_space(before, velocity)  # type: ignore[attr-defined]
    return Last(before, velocity, memory)


def _count(value: Any) -> int:
    if not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a number of steps")
    return value


def _like(point: Point, value: Any) -> Point:
    """Return the value, if it is a point of the shapes of another point."""
    parts, others = (each if isinstance(each, list | tuple) else [each] for each in (value, point))
    if [getattr(part, "shape", None) for part in parts] != [part.shape for part in others]:
        raise ValueError(f"it is not of the shape {', '.join(str(tuple(part.shape)) for part in others)} of the start")
    return value


def _array(value: Any) -> Array:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{value!r} is not an array")
    return value


def _placing(drive: Array) -> Callable[[Any], Any]:
    """Return a function that moves the arrays of a tree to the namespace and device of the drive."""
    there, place = array_namespace(drive), device(drive)

    def placed(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return there.asarray(value, device=place)
        if isinstance(value, dict):
            return {name: placed(item) for name, item in value.items()}
        return type(value)(map(placed, value)) if isinstance(value, list | tuple) else value

    return placed
