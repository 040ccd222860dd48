"""Draws: their number, and that they do not hang on what was drawn before."""

import keras
import numpy as np
import pytest

from keras_mtl.data._draws import Draws


def taken(draws, number):
    return np.asarray(list(draws.dataset().take(number).as_numpy_iterator()))


@pytest.mark.parametrize(
    "temperature",
    [1.0, 3.0, keras.optimizers.schedules.ExponentialDecay(1.0, 50, 1.5)],
    ids=lambda value: str(value) if isinstance(value, float) else "schedule",
)
@pytest.mark.parametrize("all_through", [True, False])
def test_the_number_of_draws(temperature, all_through):
    """Against a count one by one, over several blocks."""
    draws = Draws(np.asarray([5.0, 2.0, 1.0]), temperature, 2, seed=1)
    sizes = np.asarray([900, 400, 150])
    counts, expected = np.zeros(3), 0
    for drawn in taken(draws, 4000):
        if all_through and (counts >= sizes).all():
            break
        counts[drawn] += 1
        if not all_through and (counts > sizes).any():
            break
        expected += 1
    assert draws.number_until(sizes.astype(float), all_through=all_through) == expected > 512


def test_seeds():
    weights = np.ones(4)
    first, again, other = (taken(Draws(weights, 1.0, 8, seed), 5000) for seed in (0, 0, 1))
    assert np.array_equal(first, again)
    assert 0.2 < (first == other).mean() < 0.3
    assert not np.array_equal(first[:2048], first[2048:4096])  # the next block


def test_what_weighs_nothing_is_not_drawn():
    assert set(taken(Draws(np.asarray([0.0, 1.0, 2.0]), 10.0, 8, 0), 3000)) == {1, 2}
