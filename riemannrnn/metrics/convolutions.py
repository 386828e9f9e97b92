"""The manifolds of the kernels of a convolution, as the catalogue makes them."""

from collections.abc import Callable

from manifolds import (
    Array,
    ConvolutionalMonotone,
    Identity,
    PullbackManifold,
    Retraction,
    SpectralMonotone,
    SpectralResolvent,
    WeightManifold,
)
from riemannrnn.metrics.entry import ManifoldEntry, Placed
from riemannrnn.network import Convolution


def euclidean_kernels(connectivity: Convolution, kernels: Array, retraction: Retraction) -> Placed:
    """Return the Euclidean space of kernels of any support."""
    return Placed(PullbackManifold(Identity(), tuple(kernels.shape), retraction), kernels)


def monotone_kernels(connectivity: Convolution, kernels: Array, retraction: Retraction) -> Placed:
    """Return monotone convolutions with kernels of this support, and the part of the kernels that has a point.

    Raises
    ------
    ValueError
        For a support that is not odd and square.
    """
    height, width = kernels.shape[2:]
    if height != width or height % 2 == 0:
        raise ValueError(
            f"a monotone convolution has kernels of an odd support, and these have {height} × {width}; choose for instance "
            "support = 3 or 5"
        )
    manifold = ConvolutionalMonotone(connectivity.channels, (height + 1) // 2, like=kernels)
    return Placed(manifold, manifold.representable(kernels))


def _global(
    make: Callable[[Convolution, Array, Retraction], WeightManifold],
) -> Callable[[Convolution, Array, Retraction], Placed]:
    """Return the function that makes a manifold of global kernels, and refuses others."""

    def place(connectivity: Convolution, kernels: Array, retraction: Retraction) -> Placed:
        if tuple(kernels.shape[2:]) != tuple(connectivity.shape):
            height, width = connectivity.shape
            raise ValueError(
                f"the kernels of this manifold are as large as the grid of {height} × {width}, and these have a support of "
                f"{kernels.shape[2]} × {kernels.shape[3]}; make the support as large as the grid, or choose 'monotone' or "
                "'euclidean'"
            )
        return Placed(make(connectivity, kernels, retraction), kernels)

    return place


spectral_resolvent = _global(
    lambda connectivity, kernels, retraction: PullbackManifold(
        SpectralResolvent(connectivity.shape), tuple(kernels.shape), retraction
    )
)
"""The resolvent metric of global kernels."""

spectral_monotone = _global(
    lambda connectivity, kernels, retraction: SpectralMonotone(connectivity.channels, connectivity.shape, like=kernels)
)
"""The symmetric space of monotone convolutions with global kernels."""

OF_KERNELS = (
    ManifoldEntry(
        "convolutional-monotone",
        "ConvolutionalMonotone(channels, k)",
        "points [A, P, ε], I − W = diag(exp ε) (m I + AᵀA + P − Pᵀ)",
        "Layers of images with local kernels: every stimulus has exactly one fixed point, a stable one. “monotone” means this "
        "manifold for such a layer. Its kernels have an odd support, 2 k − 1.",
        connected={Convolution: monotone_kernels},
    ),
    ManifoldEntry(
        "spectral-monotone",
        "SpectralMonotone(channels, grid)",
        "grad = Ŝ ∇^ Ŝ / (H W) at each frequency",
        "The monotone manifold of layers of images whose kernels are as large as the grid, in closed form.",
        connected={Convolution: spectral_monotone},
    ),
    ManifoldEntry(
        "spectral-resolvent",
        "SpectralResolvent(grid)",
        "φ = √(H W) (I − Ŵ)⁻¹ at each frequency",
        "The resolvent metric of layers of images whose kernels are as large as the grid.",
        connected={Convolution: spectral_resolvent},
        retractions=("geodesic", "additive"),
    ),
)
"""The manifolds of kernels alone; others of the catalogue have a form for kernels."""
