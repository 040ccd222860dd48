"""What balancers can be held to. Each test file of a balancer claims what its paper claims."""

import gzip
import json

import keras
import numpy as np
import pytest

# Where the tasks' gradients lie to each other: [num_tasks, num_parameters].
_RNG = np.random.default_rng(0)
JACOBIANS = {
    "one task": _RNG.normal(size=(1, 6)),
    "two that agree": np.array([[1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]),
    "two in conflict": np.array([[1.0, 0.0], [-0.8, 0.6]]),
    "two badly scaled": np.array([[100.0, 0.0, 3.0], [-1.0, 1e-3, 0.0]]),
    "parallel": np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]]),
    "opposite": np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]]),
    "opposite and unequal": np.array([[1.0, 2.0, 3.0], [-4.0, -8.0, -12.0]]),
    "one of two is zero": np.array([[0.0, 0.0, 0.0], [1.0, -2.0, 0.5]]),
    "all zero": np.zeros((3, 4)),
    "three that cancel": np.array([[1.0, 0.0], [-0.5, 0.75**0.5], [-0.5, -(0.75**0.5)]]),
    "five": _RNG.normal(size=(5, 8)),
    "five, badly scaled": _RNG.normal(size=(5, 8)) * np.logspace(-3, 3, 5)[:, None],
    "more tasks than parameters": _RNG.normal(size=(6, 2)),
    "equal": np.ones((4, 3)),
}


def direction(balancer, jacobian, active=None):
    """The direction as an array."""
    return np.asarray(balancer.direction(jacobian, None if active is None else np.asarray(active)))


def weights(balancer, jacobian, active=None):
    """The weights as an array."""
    jacobian = np.asarray(jacobian)
    active = np.ones(len(jacobian), bool) if active is None else np.asarray(active)
    return np.asarray(balancer((jacobian @ jacobian.T).astype(balancer.compute_dtype), active))


def scaled_error(received, expected):
    """The largest difference, in units of the largest number expected."""
    return np.max(np.abs(received - expected)) / max(np.max(np.abs(expected)), 1e-300)


def assert_permutes_with_the_tasks(make, jacobian):
    """To change the order of the tasks changes the order of the weights, and nothing else."""
    expected = weights(make(dtype="float64"), jacobian)
    for seed in range(4):
        order = np.random.default_rng(seed).permutation(len(jacobian))
        received = weights(make(dtype="float64"), jacobian[order])
        np.testing.assert_allclose(received, expected[order], rtol=1e-10, atol=1e-12)


def assert_scales_with_the_gradients(make, jacobian):
    """To multiply all gradients by a positive number multiplies the direction by it."""
    expected = direction(make(dtype="float64"), jacobian)
    for factor in (1e-3, 7.0, 1e6):
        assert scaled_error(direction(make(dtype="float64"), factor * jacobian), factor * expected) < 1e-10


def assert_rotates_with_the_gradients(make, jacobian):
    """To rotate all gradients rotates the direction: it depends on nothing but their inner products."""
    size = jacobian.shape[1]
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
    expected = direction(make(dtype="float64"), jacobian) @ rotation
    np.testing.assert_allclose(direction(make(dtype="float64"), jacobian @ rotation), expected, atol=1e-10)


def assert_does_not_conflict(make, jacobian):
    """No task's loss rises along the step."""
    found = direction(make(dtype="float64"), jacobian)
    sizes = np.linalg.norm(jacobian, axis=1) * np.linalg.norm(found)
    assert np.all(jacobian @ found >= -1e-10 * sizes)


def assert_matches_reference(make, method, folder, *, num_tasks=None, tolerance=1e-8):
    """The directions of a file of published cases, which lies beside the project; skips where it is absent."""
    path = folder.parent / "shared" / "reference" / "gradient_directions.json.gz"
    if not path.exists():
        pytest.skip(f"needs the reference directions at ../shared/reference/{path.name}")
    cases = [case for case in json.loads(gzip.decompress(path.read_bytes()))["cases"] if method in case["expected"]]
    cases = [case for case in cases if num_tasks in (None, len(case["J"]))]
    assert len(cases) > 3
    for case in cases:
        received = direction(make(dtype="float64"), np.array(case["J"]))
        expected = np.array(case["expected"][method]["direction"])
        assert scaled_error(received, expected) < tolerance, case["name"]


def total(balancer, losses, active=None):
    """What a model is trained by: the weighted losses and the balancer's own term."""
    active = np.ones(len(losses), bool) if active is None else np.asarray(active)
    losses = keras.ops.convert_to_tensor(losses, balancer.compute_dtype)
    return keras.ops.sum(balancer(losses, active) * losses) + balancer.regularization(active)
