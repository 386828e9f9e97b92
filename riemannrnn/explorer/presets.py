"""The lessons of the playground: each has a state, an explanation, and things to try."""

from dataclasses import dataclass

from riemannrnn.explorer.playground import Playground


@dataclass(frozen=True)
class Preset:
    """A lesson.

    Attributes
    ----------
    title
        The lesson in a sentence.
    look
        What the picture shows.
    attempt
        What to try.
    state
        The state at its beginning.
    """

    title: str
    look: str
    attempt: str
    state: Playground


PRESETS = {
    "cliff": Preset(
        "A singularity throws ΔW1 away",
        "The dashed purple line is where I − W is singular: there the rates, and the loss, are infinite. The start lies beside "
        "it. The Euclidean gradient holds the factor (I − W)⁻¹ three times, so it is enormous there. The first "
        "step of ΔW1 lands far outside the picture, where all rates are nearly 0, the loss is flat and its gradient vanishes: "
        "ΔW1 does not come back, and its loss stays where it is. ΔW2 measures steps in "
        "A = (I − W)⁻¹, where the singularity is infinitely far away and the loss is a bowl. "
        "Look at the balls: the Euclidean ball is as large beside the line as elsewhere, and the resolvent ball shrinks there.",
        "Press Reset, then Step, and watch the first step. Drag the start away from the line, to w = −0.5: there both rules "
        "learn. Drag it back and watch how far ΔW1 goes in the table. A smaller learning rate only moves the trouble closer "
        "to the line.",
        Playground(),
    ),
    "infinity": Preset(
        "A long step of ΔW2 passes through infinity",
        "In A the step of ΔW2 is a straight line. This one is so long that it crosses the dotted line where A is singular. "
        "W = I − A⁻¹ is infinite there, and on the other side W comes back from the far end, beyond the singularity, where the "
        "fixed points are unstable. The formula does not notice. The manifold does: the geodesic ends at its exit time, and "
        "the step is refused.",
        "Lower the learning rate to 1: the step arrives, at the minimum. Then raise it slowly and look at both pictures.",
        Playground(
            lesson="infinity", target=(-1.0, 0.3), start=(0.6, 0.0), end=(1.6, 0.5), rate=1.9, steps=1, rules=("dW2", "dW3"),
            manifolds=("resolvent", "right-invariant"),
        ),
    ),
    "monotone": Preset(
        "No step leaves the monotone set",
        "Left of the green line the symmetric part of I − W is positive definite. There every stimulus has exactly one fixed "
        "point, a stable one, whatever the stimulus is. W is symmetric here, so that the green line lies on the line where "
        "I − W is singular. The monotone metric makes the set complete: its edge is infinitely far away, and its balls shrink "
        "towards it. The learning rate is far too large here. ΔW1 jumps across both lines, where no fixed point is certain "
        "any more. Descent on the monotone manifold goes astray, but it stays in the set.",
        "Choose any learning rate, and drag the start close to the green line: the green path never crosses it.",
        Playground(
            lesson="monotone", network="pair", activation="tanh", target=(0.1, 0.3), start=(-0.9, 0.9), end=(0.2, -0.4),
            rate=40.0, steps=2, rules=("dW1", "descent/monotone"), manifolds=("euclidean", "monotone"),
        ),
    ),
    "correlated": Preset(
        "Correlated stimuli need the natural gradient",
        "The inputs of the two units are correlated by 0.8, so the bowl in A is long and narrow. Descent in the resolvent "
        "metric falls into the valley first and then creeps along it. The response metric measures a step by how much the "
        "rates change: its balls are as long as the valley, and its path goes straight to the minimum. K-FAC is its "
        "approximation for mini-batches; its damping leaves a part of the detour.",
        "Set the correlation to 0: the two paths become one. Set it to −0.8: the valley turns.",
        Playground(
            lesson="correlated", correlation=0.8, target=(0.5, 1.0), start=(0.74, 0.4), end=(0.5, 1.0), rate=0.1, steps=60,
            rules=("dW2", "descent/response", "kfac"), manifolds=("resolvent", "response"),
        ),
    ),
    "large": Preset(
        "A hundred units, on a plane through three points",
        "The plane goes through W = 0, random weights, and the weights that are to be learned. All weights learn, so a path "
        "leaves the plane, and its shadow is drawn. The loss is first drawn coarsely, then finely.",
        "Drag the start to the right, past the edge of stability, and compare the rules.",
        Playground(
            lesson="large", network="large", activation="tanh", units=100, start=(0.8, 0.05), end=(0.3, 0.03),
            rate=0.5, steps=3, rules=("dW1", "dW2", "dW3"), manifolds=("euclidean", "monotone"),
        ),
    ),
}  # fmt: skip
"""The lessons by name."""
