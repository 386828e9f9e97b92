"""Convolutional read-ins and pooling against the definition, and against their adjoints."""

import array_api_strict as strict
import numpy as np
import pytest

from riemannrnn.network import ConvolutionalReadIn, MeanPooling, PooledMap

READ_INS = {
    "same size": ConvolutionalReadIn((5, 4, 1), 3),
    "several channels": ConvolutionalReadIn((4, 5, 3), 2),
    "stride": ConvolutionalReadIn((7, 6, 2), 3, stride=2),
    "stride that leaves a rest": ConvolutionalReadIn((6, 8, 1), 2, support=4, stride=3, padding=0),
    "wide padding": ConvolutionalReadIn((3, 3, 2), 2, padding=2),
    "a position": ConvolutionalReadIn((3, 3, 2), 2, padding=0),
    "pointwise": ConvolutionalReadIn((3, 2, 3), 2, support=1),
}


@pytest.fixture(params=READ_INS)
def read_in(request):
    return READ_INS[request.param]


def by_definition(read_in, kernels, stimuli):
    """Return the drives, computed one product of a kernel and a window at a time."""
    border = read_in.support // 2 if read_in.padding is None else read_in.padding
    images = np.pad(stimuli.reshape(-1, *read_in.image), [(0, 0), (border, border), (border, border), (0, 0)])
    drives = np.zeros((len(stimuli), *read_in.shape), stimuli.dtype)
    for x, y in np.ndindex(*read_in.shape[:2]):
        rows, columns = read_in.stride * x, read_in.stride * y
        window = images[:, rows : rows + read_in.support, columns : columns + read_in.support, :]
        drives[:, x, y, :] = np.einsum("oiab,nabi->no", kernels, window)
    return drives.reshape(len(stimuli), -1)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_it_is_a_convolution_and_has_its_adjoints(read_in, dtype, generator):
    kernels = read_in.initial(generator).astype(dtype)
    stimuli = generator.standard_normal((3, int(np.prod(read_in.image)))).astype(dtype)
    drives = read_in.apply(kernels, stimuli)
    covectors, change = generator.standard_normal(drives.shape).astype(dtype), generator.standard_normal(kernels.shape)
    change, rounding = change.astype(dtype), 1e3 * float(np.finfo(dtype).eps)
    np.testing.assert_allclose(drives, by_definition(read_in, kernels, stimuli), atol=rounding)
    back, gradient = read_in.transpose(kernels, covectors), read_in.gradient(covectors, stimuli)
    assert (back.shape, gradient.shape) == (stimuli.shape, kernels.shape)
    assert {each.dtype for each in (drives, back, gradient)} == {np.dtype(dtype)}
    assert np.vdot(back, stimuli) == pytest.approx(np.vdot(covectors, drives), rel=rounding, abs=rounding)
    along = np.vdot(covectors, read_in.apply(change, stimuli))
    assert np.vdot(gradient, change) == pytest.approx(along, rel=rounding, abs=rounding)


def test_kernels_keep_the_variance_of_white_stimuli(generator):
    read_in = ConvolutionalReadIn((9, 9, 4), 50, padding=0)
    drives = read_in.apply(read_in.initial(generator), generator.standard_normal((20, 324)))
    assert np.var(drives) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(("size", "shape"), [(2, (2, 3, 3)), ((4, 6), (1, 1, 3)), ((1, 3), (4, 2, 3)), (1, (4, 6, 3))])
def test_pooling_takes_means_of_windows(size, shape, generator):
    pooling = MeanPooling((4, 6, 3), size)
    rows = generator.standard_normal((5, 72))
    means = pooling.apply(rows)
    assert pooling.shape == shape
    assert means.shape == (5, np.prod(shape))
    height, width = pooling.window
    images, found = rows.reshape(5, 4, 6, 3), means.reshape(5, *shape)
    for x, y in np.ndindex(*shape[:2]):
        window = images[:, height * x : height * (x + 1), width * y : width * (y + 1)]
        np.testing.assert_allclose(found[:, x, y], window.mean(axis=(1, 2)), atol=1e-14)
    covectors = generator.standard_normal(means.shape)
    assert np.vdot(pooling.transpose(covectors), rows) == pytest.approx(np.vdot(covectors, means))


def test_on_strict_arrays(read_in, generator):
    kernels, stimuli = read_in.initial(generator), generator.standard_normal((3, int(np.prod(read_in.image))))
    drives = read_in.apply(kernels, stimuli)
    there, images = strict.asarray(kernels), strict.asarray(stimuli)
    pooling = MeanPooling(read_in.shape, read_in.shape[:2])
    for found, expected in (
        (read_in.apply(there, images), drives),
        (read_in.transpose(there, strict.asarray(drives)), read_in.transpose(kernels, drives)),
        (read_in.gradient(strict.asarray(drives), images), read_in.gradient(drives, stimuli)),
        (pooling.apply(strict.asarray(drives)), pooling.apply(drives)),
        (pooling.transpose(pooling.apply(strict.asarray(drives))), pooling.transpose(pooling.apply(drives))),
    ):
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-12)


def test_what_is_refused(generator):
    read_in = READ_INS["stride"]
    kernels = read_in.initial(generator)
    with pytest.raises(ValueError, match=r"kernels have shape \(3, 2, 3, 2\); pass \(3, 2, 3, 3\)"):
        read_in.apply(kernels[..., :2], np.zeros((1, 84)))
    with pytest.raises(ValueError, match=r"rows have shape \(1, 83\).*pass \(batch, 84\)"):
        read_in.apply(kernels, np.zeros((1, 83)))
    with pytest.raises(ValueError, match=r"pass \(batch, 36\)"):
        read_in.transpose(kernels, np.zeros((1, 84)))
    with pytest.raises(ValueError, match="support = 5 is larger than the image of 4 × 3"):
        ConvolutionalReadIn((4, 3, 1), 2, support=5, padding=0)
    for options in ({"stride": 0}, {"channels": 0}, {"padding": -1}, {"image": (4, 4)}):
        with pytest.raises(ValueError, match="1 or more"):
            ConvolutionalReadIn(**{"image": (4, 4, 1), "channels": 2} | options)
    with pytest.raises(ValueError, match="windows of 3 × 3 do not divide"):
        MeanPooling((4, 6, 1), 3)


def test_the_bound_of_the_norm_holds_and_is_close(read_in, generator):
    kernels = read_in.initial(generator)
    matrix = read_in.apply(kernels, np.eye(int(np.prod(read_in.image))))
    exact = np.linalg.norm(matrix, 2)
    assert exact <= read_in.norm(kernels) * (1 + 1e-12)
    assert read_in.norm(kernels.astype(np.float32)) < (1 + read_in.stride) * exact
    pooling = MeanPooling(read_in.shape, read_in.shape[:2])
    readout = generator.standard_normal((4, read_in.channels))
    pooled = PooledMap(pooling)
    exact = np.linalg.norm(pooled.apply(readout, np.eye(int(np.prod(read_in.shape)))), 2)
    assert pooled.norm(readout) == pytest.approx(exact)
