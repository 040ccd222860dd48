"""The mean relative improvement."""

import pytest

from keras_mtl.evaluation import delta_m


def test_by_hand():
    better = {"a": True, "b": False}
    assert delta_m({"a": 0.9, "b": 2.0}, {"a": 0.8, "b": 1.6}, better) == pytest.approx((12.5 - 25) / 2)
    assert delta_m({"a": 0.8, "b": 1.6}, {"a": 0.8, "b": 1.6}, better) == 0
    assert delta_m({"a": 1.0}, {"a": -2.0}, {"a": True}) == pytest.approx(150)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (({"a": 1.0}, {"a": 0.0}, {"a": True}), "baseline finite and not zero. Received: metric=1.0, baseline=0.0"),
        (({"a": float("nan")}, {"a": 1.0}, {"a": True}), "metric of task 'a' should be finite"),
        (({"b": 1.0}, {"a": 1.0}, {"a": True}), r"tasks of `metrics` should be \['a'\]. Received: \['b'\]"),
        (({"a": 1.0}, {"a": 1.0}, {}), "tasks of `higher_is_better`"),
        (({}, {}, {}), "at least one task"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        delta_m(*arguments)
