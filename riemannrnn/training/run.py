"""The loop of training: mini-batches, steps and measurements."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from math import isnan, nan
from pathlib import Path
from typing import Any

from array_api_compat import array_namespace, is_numpy_array

from manifolds import Array, ManifoldError, Point
from manifolds.points import arrays_of
from riemannrnn.cost.cost import FixedPointCost
from riemannrnn.cost.evaluation import Evaluation
from riemannrnn.cost.losses import Loss
from riemannrnn.equilibrium.fixed_points import FixedPointError
from riemannrnn.rules.rule import Rule
from riemannrnn.runtime import one_blas_thread, parts
from riemannrnn.training.batches import Batches
from riemannrnn.training.checkpoints import CheckpointError, fingerprint, last_checkpoint, write_checkpoint
from riemannrnn.training.guard import StabilityGuard, Step, UnstableStartError
from riemannrnn.training.held_out import HeldOut, accuracy
from riemannrnn.training.history import History, Recorder
from riemannrnn.training.options import TrainingOptions
from riemannrnn.training.outcome import HIDDEN, LOST, START, fallen_by_epochs, look_back
from riemannrnn.training.range_test import find_rate
from riemannrnn.training.state import RunState, placing, refuse_another
from riemannrnn.training.stepping import Last, Stepper
from riemannrnn.training.stopping import Criterion, Verdict
from riemannrnn.training.streamed import StreamedBatches, StreamedHeldOut

BACK_UPS = 10
"""Most halvings of a step if the next mini-batch has no fixed points after it."""


@dataclass
class Run:
    """A training run: its options, its observers and its state.

    Parameters
    ----------
    options
        The options of training, resolved.
    rule, guard
        The objects that the options describe.
    cost
        The cost of all stimuli; for a stream, the cost of the first batches.
    held_out
        The held-out stimuli.
    batches
        The cost of the batch of each step.
    state
        The state that changes from step to step.
    stop, callbacks, record, checkpoints
        As for `train`.
    data
        A fingerprint of the training data.
    from_weights
        Whether the run starts from weights, not from a history.
    """

    options: TrainingOptions
    rule: Rule
    guard: StabilityGuard | None
    cost: FixedPointCost
    held_out: HeldOut | StreamedHeldOut | None
    batches: Batches | StreamedBatches
    state: RunState
    stop: Criterion | None = None
    callbacks: tuple[Callable[[int, History], None], ...] = ()
    record: Recorder | None = None
    checkpoints: Path | None = None
    data: str = ""
    from_weights: bool = True

    def __post_init__(self) -> None:
        self.stepper = Stepper(self.rule, self.state.point, self.guard, self.options)
        self.history, self.start = self.state.history, self.state.history.weights
        self.steps = self.options.epochs * self.batches.per_epoch
        if self.options.learning_rate is not None:
            self.history.learning_rate = self.options.learning_rate
        self._described = {} if self.checkpoints is None else self._description()
        self._boundary: Mapping[str, Any] | None = None

    def go(self, finished: str) -> History:
        """Run until the last step or an early stop. `finished` is the message if nothing stopped the run early."""
        history = self.history
        # BLAS threads spin between products, and would block a core for the threads that iterate the fixed points.
        with one_blas_thread() if is_numpy_array(self.cost.batch) else nullcontext():
            try:
                history.stopped = self._loop() or finished
                self._look_back()
            except (FixedPointError, ManifoldError) as error:
                self._fail(f"Stopped at step {self.state.step + 1}", error)
            except KeyboardInterrupt:
                history.stopped, history.interrupted = f"Interrupted after {self.state.step} steps.", True
                self._write(self._boundary or self._snapshot())
            finally:
                self.batches.close()
        return history

    def restore(self) -> None:
        """Restore the state of the last checkpoint."""
        if self.checkpoints is None:
            raise CheckpointError("resume = True needs a folder to resume from; pass checkpoints=FOLDER")
        checkpoint = last_checkpoint(self.checkpoints)
        refuse_another(checkpoint, self._described)
        self.state.restore(checkpoint, self.rule, self.cost.batch)
        take_up: Callable[[Any], None] = (lambda state: None) if self.record is None else self.record.restore
        checkpoint.read("record", lambda value: take_up(placing(self.cost.batch)(value)))
        self._keep(self.state.point if self.state.last is None else self.state.last.point)

    def _loop(self) -> str:
        """Take the steps; return why they ended before the last step, or an empty string."""
        verdict = self._verdict() if self.state.step > 0 else None  # a resumed run that had already ended does not continue
        while verdict is None and self.state.step < self.steps:
            self._boundary = self._snapshot()  # an interrupted step is taken again
            masked = self.guard is not None and self.state.last is not None  # then stimuli without a fixed point are left out
            if self.batches.begins_epoch(self.state.step):
                self.state.order = self.batches.draw(self.state.generator)
            part = self.batches.of(self.state.step, self.state.order, "mask" if masked else None)
            self._learn(part, self._boundary)
            part.forget()  # else its arrays are kept while the next step is computed
            self.state.step += 1
            self._look()
            for callback in self.callbacks:
                callback(self.state.step, self.history)
            verdict = self._verdict()
            if verdict is not None or self.state.step == self.steps or self.state.step % self.options.checkpoint_every == 0:
                self._write(self._snapshot())
        if not self._lost():
            self._arrive()
            return "" if verdict is None else verdict.reason
        return self.history.stopped

    def _learn(self, part: FixedPointCost, boundary: Mapping[str, Any]) -> None:
        """Learn from a batch: find its cost at the point, and take a step."""
        if self.guard is not None and self.state.last is not None:
            self._back_up(part, self.state.last)
        evaluation = self._evaluated(part)
        self._begin(evaluation, part.loss)
        if self.state.step == 0:
            self._refuse_unstable_start(evaluation)
            self._write(boundary)  # a folder that takes no files shows before there is work to lose
            self._find_rate()
        self._take_step(part, evaluation)

    def _verdict(self) -> Verdict | None:
        verdict = None if self.stop is None else self.stop(self.history)
        if verdict is not None:
            self.history.converged = verdict.converged
            self._measure()
        return verdict

    def _evaluated(self, part: FixedPointCost) -> Evaluation:
        """Return the evaluation of the cost of the batch at the current point."""
        try:
            return part.at(self.rule.parameterization.weights(self.state.point))
        except FixedPointError as error:
            if self.guard is not None and self.state.step == 0:
                raise UnstableStartError(f"at the weights to start from, {error} {START}") from error
            raise

    def _back_up(self, part: FixedPointCost, last: Last) -> None:
        """Halve the previous step until the stimuli that had fixed points at its start have them again."""
        xp = array_namespace(part.batch)

        def found(point: Point) -> Array:
            return part.at(self.rule.parameterization.weights(point)).fixed_points.converged

        now, count = found(self.state.point), part.batch.shape[0]
        if bool(xp.all(now)):
            return
        before = found(last.point)
        for _ in range(BACK_UPS):
            lost = int(xp.count_nonzero(before & ~now))
            if not lost:
                break
            last = self._halve(last)
            self.history.guard_reasons.append(
                f"Step {self.state.step}: the stimuli after it: {lost} of {count} stimuli have no fixed point"
            )
            now = found(self.state.point)
        if left_out := int(xp.count_nonzero(~now)):
            self.history.guard_reasons.append(
                f"Step {self.state.step + 1}: {left_out} of its {count} stimuli are left out: they have no fixed point"
            )

    def _halve(self, last: Last) -> Last:
        """Replace the last step by a step of half its length, and return it."""
        halved = replace(last, velocity=0.5 * last.velocity)
        self.state.point = self.rule.move(last.point, halved.velocity)
        self.state.memory = self.rule.carry(last.point, halved.velocity, last.memory)
        self.state.last = halved
        self.history.step_length[-1] *= 0.5
        self.history.shortened[-1] *= 0.5
        self.history.abscissa[-1] = self.history.jumps[-1] = nan  # the old values belong to the longer step
        return halved

    def _begin(self, evaluation: Evaluation, loss: Loss) -> None:
        history, xp = self.history, array_namespace(evaluation.batch)
        history.weights, history.point, history.memory = evaluation.weights, self.state.point, self.state.memory
        history.loss.append(evaluation.cost if evaluation.valid else nan)
        history.iterations.append(int(xp.max(evaluation.fixed_points.iterations)))
        history.left_out.append(int(xp.count_nonzero(~evaluation.fixed_points.converged)))
        right = accuracy(evaluation, loss)
        if right is not None:
            history.accuracy.append(right)
        if self.record is not None:
            self.record.record(self.state.step, self._recorded(evaluation.weights), history.loss[-1])

    def _take_step(self, part: FixedPointCost, evaluation: Evaluation) -> None:
        if self.guard is not None and self.state.last is not None and not evaluation.valid:
            zero = self.rule.zero(self.state.point)  # all stimuli are left out, and the gradient is not defined
            self.state.last = Last(self.state.point, zero, self.state.memory)
            self._tell(Step(self.state.point, zero, 0.0), 0.0)
            return
        rate = self.history.learning_rate * float(self.options.factor(self.state.step / self.steps))
        step, length, memory = self.stepper.take(part, evaluation, self.state.point, self.state.memory, rate)
        if step.reason:
            self.history.guard_reasons.append(f"Step {self.state.step + 1}: {step.reason}")
        self.state.last = Last(self.state.point, step.velocity, memory)
        self.state.memory = self.rule.carry(self.state.point, step.velocity, memory)
        self.state.point = step.point
        self._tell(step, length)

    def _tell(self, step: Step, length: float) -> None:
        """Add a step to the history, with the length that the rule requested."""
        self.history.step_length.append(step.share * length)
        self.history.shortened.append(step.share)
        self.history.abscissa.append(step.abscissa)
        self.history.jumps.append(step.jumps)

    def _find_rate(self) -> None:
        """Find the learning rate, if none was given."""
        if isnan(self.history.learning_rate):
            batches = self.batches
            self.history.range_test = find_rate(
                self.stepper,
                self.cost,
                batches.first(self.state.order),
                batches.size,
                self.steps,
                self.state.point,
                self.state.memory,
                self._travel(),
            )
            self.history.learning_rate = self.history.range_test.rate

    def _travel(self) -> float:
        """Return the length of the run in steps at the full rate: the sum of its schedule."""
        return sum(float(self.options.factor(step / self.steps)) for step in range(self.steps))

    def _look_back(self) -> None:
        """Report if the run did not lower the training loss."""
        history, per_epoch = self.history, self.batches.per_epoch
        if not (history.failed or history.converged or self.state.step == 0 or fallen_by_epochs(history.loss, per_epoch)):
            look_back(history, self.cost, self.batches.first(self.state.order), self.start, warn=self.from_weights)

    def _refuse_unstable_start(self, evaluation: Evaluation) -> None:
        """Raise an error if the start is so unstable that the guard could accept no step."""
        if self.guard is None:
            return
        worst, unstable = self.guard.unstable(evaluation.layers)
        if unstable.shape[0]:
            raise UnstableStartError(
                f"at the weights to start from {unstable.shape[0]} of {evaluation.batch.shape[0]} stimuli of the first batch "
                f"have no fixed point that is stable by {self.guard.margin:g}: the largest abscissa is {worst:+.3g}. {START}"
            )

    def _look(self) -> None:
        """Add entries for the held-out data, and evaluate them at their period and at the end."""
        self.history.test_loss.append(nan)
        self.history.test_accuracy.append(nan)
        every = self.options.evaluate_every or self.batches.per_epoch
        if self.state.step % every == 0 or self.state.step == self.steps:
            self._measure()

    def _measure(self) -> None:
        if self.held_out is None:
            return
        self.history.test_loss[-1], right = self.held_out.measure(self.rule.parameterization.weights(self.state.point))
        if right is not None:
            self.history.test_accuracy[-1] = right

    def _lost(self) -> bool:
        """Tell whether the last step, which no guard checked, lost a fixed point of its batch; the run has then failed."""
        if self.guard is not None or self.state.last is None:
            return False
        part = self.batches.of(self.state.step - 1, self.state.order)
        try:
            self._evaluated(part)
        except FixedPointError as error:
            self._keep(self.state.last.point)
            self._fail(f"Stopped after step {self.state.step}", error)
        part.forget()
        return self.history.failed

    def _fail(self, when: str, error: Exception) -> None:
        """Record why the run ended early."""
        self.history.failed, self.history.converged, self.history.stopped = True, False, f"{when}: {error}"
        if isinstance(error, FixedPointError):
            self.history.stopped += f" {HIDDEN if self.rule.parameterization.promises(self.cost.model.recurrent) else LOST}"

    def _keep(self, point: Point) -> None:
        self.history.weights, self.history.point = self.rule.parameterization.weights(point), point

    def _arrive(self) -> None:
        """Make the current point the result."""
        self._keep(self.state.point)
        self.history.memory = self.state.memory
        if self.record is not None:
            self.record.record(self.state.step, self._recorded(self.history.weights))

    def _recorded(self, weights: Point) -> Any:
        """Return the argument of a recorder: W, or all parameters by name if more is trained."""
        model = self.cost.model
        return weights if model.one_matrix else model.named(weights)

    def _description(self) -> dict[str, Any]:
        """Return the values that must be the same when a run is resumed, by name."""
        facts = {
            "stimuli": self.batches.count,
            "activation": ", ".join(each.name for each in self.cost.model.activations),
            "weights": fingerprint(*arrays_of(self.history.weights)),
            "data": self.data,
        }
        return {**self.options.described(), **self.cost.options.described(), **facts}

    def _snapshot(self) -> dict[str, Any]:
        """Return the state between two steps, including the state outside the loop."""
        record = None if self.record is None or self.checkpoints is None else self.record.state()
        return {**self.state.snapshot(), "run": self._described, "cores": parts(), "record": record}

    def _write(self, snapshot: Mapping[str, Any]) -> None:
        if self.checkpoints is not None:
            write_checkpoint(self.checkpoints, snapshot["step"], self.state.with_history(snapshot))
