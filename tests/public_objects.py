"""An object of every public class, for tests of their common behaviour: printing and copying."""

import autograd.numpy as anp
import numpy as np

import manifolds
import riemannrnn
from manifolds import (
    AutogradChart,
    Composition,
    ConvolutionalMonotone,
    FixedRank,
    Identity,
    MetricManifold,
    MonotoneManifold,
    Parameterization,
    PointCache,
    ProductManifold,
    PullbackManifold,
    Resolvent,
    ScaledMonotoneManifold,
    SignedLog,
    SpectralMonotone,
    SpectralResolvent,
    SubspaceManifold,
    Weighted,
    check_manifold,
    circulant,
    gain,
    left_invariant,
    mask,
    right_invariant,
    symmetric,
    zero_diagonal,
)
from riemannrnn import (
    Activation,
    Anderson,
    AutogradLoss,
    Automatic,
    Convolution,
    CrossEntropy,
    FixedPointClassifier,
    FixedPointCost,
    FixedPointRegressor,
    Flow,
    Layer,
    LowRank,
    Neumann,
    Newton,
    PeacemanRachford,
    Picard,
    RateNetwork,
    SquaredError,
    Stack,
    Task,
    compare,
    power_law,
    train,
)
from riemannrnn.analysis import LearningPath
from riemannrnn.comparison.contenders import Contender
from riemannrnn.data import Part, Stream, load_digits, open_source, open_table
from riemannrnn.rules.descent import Descent
from riemannrnn.rules.paper import DeltaW3
from riemannrnn.training import stopping
from riemannrnn.training.guard import StabilityGuard

N = 20


def bent(z):
    """A user-defined activation."""
    return z / (1 + anp.exp(-z)) / 2


def distance(outputs, targets):
    """A user-defined loss."""
    return anp.sum((outputs - targets) ** 4, axis=1)


def faster(W, P):
    """A user-defined metric."""
    return (0.1 + W**2) * P


def sinh(Z):
    """The inverse of a user-defined chart."""
    return anp.sinh(Z)


def arcsinh(W):
    """A user-defined chart."""
    return anp.arcsinh(W)


def network(**options):
    """Return a small network."""
    return RateNetwork(**({"n_units": N, "n_inputs": 64, "n_outputs": 10, "seed": 0} | options))


def digits():
    """Return a few stimuli, different at every place of the table."""
    return load_digits().split(60, seed=0)[0]


def cost():
    """Return a cost with an evaluation in its cache."""
    made = FixedPointCost(network(), digits().stimuli, CrossEntropy(digits().labels))
    made.gradient(network().initial_weights())
    return made


def history(**options):
    """Return the history of a short run."""
    data = digits()
    options = {"batch_size": 20, "epochs": 3, "seed": 0, "held_out": (data.stimuli, data.labels)} | options
    return train(network(), network().initial_weights(0.3), data.stimuli, data.labels, **options)


def task():
    """Return a task on few stimuli."""
    return Task(network(), network().initial_weights(0.3), digits(), digits(), digits())


def comparison():
    """Return a comparison of two contenders."""
    return compare(task(), [Contender(name, "additive", "descent") for name in ("euclidean", "resolvent")], budget=6)


OBJECTS = {
    "identity": Identity,
    "resolvent": Resolvent,
    "resolvent with gains": lambda: Resolvent(np.linspace(0.5, 1, N)),
    "signed logarithm": lambda: SignedLog(np.where(np.arange(N) % 5 == 4, -1.0, 1.0)),
    "chart of one's own": lambda: AutogradChart(arcsinh, sinh),
    "composition": lambda: Composition(Resolvent(), AutogradChart(arcsinh, sinh)),
    "pullback": lambda: PullbackManifold(Resolvent(), N, seed=0),
    "gain": lambda: gain(np.linspace(0.5, 1, N)),
    "left-invariant": lambda: left_invariant(N, seed=0),
    "right-invariant": lambda: right_invariant(N, seed=0),
    "monotone": lambda: MonotoneManifold(N, seed=0),
    "product": lambda: ProductManifold({"first": MonotoneManifold(N, seed=0), "second": MonotoneManifold(3, seed=1)}),
    "monotone convolution": lambda: ConvolutionalMonotone(2, seed=0),
    "spectral monotone": lambda: SpectralMonotone(2, (3, 4), seed=0),
    "spectral resolvent": lambda: SpectralResolvent((3, 4)),
    "scaled monotone": lambda: ScaledMonotoneManifold(N, 3.0, seed=0),
    "weighted": lambda: Weighted(MonotoneManifold(N, seed=0), 2.0),
    "layer": lambda: Layer(5, skips=(0,)),
    "stack": lambda: Stack([5, 4], 7, 3, seed=0),
    "metric of one's own": lambda: MetricManifold(faster, N, seed=0),
    "fixed rank": lambda: FixedRank(N, N, 3, seed=0),
    "masked": lambda: SubspaceManifold(PullbackManifold(Resolvent(), N, "additive", seed=0), zero_diagonal(N)),
    "circulant": lambda: SubspaceManifold(PullbackManifold(Resolvent(), N, seed=0), circulant(N)),
    "symmetric": lambda: SubspaceManifold(MonotoneManifold(N, seed=0), symmetric(N)),
    "subspace": lambda: mask(np.arange(N * N).reshape(N, N) % 3 > 0),
    "parameterization": Parameterization,
    "cache": lambda: PointCache(arcsinh),
    "report": lambda: check_manifold(PullbackManifold(Identity(), 3, seed=0)),
    "result of a check": lambda: next(iter(check_manifold(PullbackManifold(Identity(), 3, seed=0)))),
    "activation": lambda: network().activation,
    "power law": lambda: power_law(1.5),
    "activation of one's own": lambda: Activation.from_function(bent),
    "Anderson": Anderson,
    "automatic": Automatic,
    "Neumann": lambda: Neumann(3),
    "Flow": Flow,
    "Newton": Newton,
    "splitting": PeacemanRachford,
    "Picard": Picard,
    "cross-entropy": lambda: CrossEntropy(digits().labels),
    "squared error": lambda: SquaredError(np.ones((60, 10))),
    "loss of one's own": lambda: AutogradLoss(distance, np.ones((60, 10))),
    "cost": cost,
    "network": network,
    "network of low rank": lambda: network(connectivity=LowRank(3)),
    "network with softplus": lambda: network(activation="softplus", dtype="float32"),
    "network of one's own activation": lambda: network(activation=bent),
    "low rank": lambda: LowRank(3),
    "convolution": lambda: Convolution(2, (4, 5)),
    "fixed points": lambda: network().fixed_points(network().initial_weights(), digits().stimuli),
    "history": history,
    "history under a guard": lambda: history(rule="dW3", guard=True),
    "history of no step": lambda: history(epochs=0),
    "trained model": lambda: history().model,
    "task": task,
    "comparison": comparison,
    "entry of a comparison": lambda: comparison().entries[0],
    "classifier": lambda: FixedPointClassifier(n_units=N, epochs=2, random_state=0).fit(digits().stimuli, digits().labels),
    "regressor": lambda: FixedPointRegressor(n_units=N),
    "data": digits,
    "source": lambda: open_source(digits().stimuli),
    "table": lambda: open_table(digits(), standardise=True),
    "stream": lambda: Stream(open_table(digits()), 20, seed=0),
    "standardisation": lambda: open_table(digits(), standardise=True).standardisation,
    "classes": lambda: open_table(digits()).classes,
    "columns": lambda: open_table(digits()).stimuli,
    "part of the rows": lambda: Part(60, 20, seed=0),
    "path": lambda: LearningPath([np.zeros((N, N)), np.eye(N) / 4]),
    "guard": StabilityGuard,
    "criterion": lambda: stopping.LossBelow(0.1) | stopping.StepLimit(7),
    "rule on a manifold": lambda: Descent(PullbackManifold(Resolvent(), N, seed=0)),
    "rule": DeltaW3,
}
"""Functions that make each object."""

ABSTRACT = {"Chart", "Loss", "WeightManifold", "Array", "Point"}
"""Public names without objects of their own."""


def public_classes():
    """Return the public classes that have objects."""
    found = {name: getattr(package, name) for package in (manifolds, riemannrnn) for name in package.__all__}
    return {
        name: each
        for name, each in found.items()
        if isinstance(each, type) and not issubclass(each, BaseException) and name not in ABSTRACT
    }
