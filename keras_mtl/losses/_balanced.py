"""Balanced losses for a plain `keras.Model`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_mtl import balancers
from keras_mtl._checks import check_number, check_same_names
from keras_mtl.losses._balanced_loss import BalancedLoss
from keras_mtl.losses._balancing import Balancing
from keras_mtl.losses._coordinator import Coordinator
from keras_mtl.losses._masked import Masked


def balanced(
    losses: Mapping[str, Any], balancer: Any = "equal", weights: Mapping[str, float] | None = None
) -> tuple[dict[str, BalancedLoss], Balancing]:
    """Losses by which a plain `keras.Model` with several outputs is trained as a balancer weighs them, and a callback.

    Use it for a model that is trained by plain `compile` and `fit` and is not to become a `MultiTaskModel`. It takes
    the balancers that look at the losses alone; those that look at gradients need `MultiTaskModel`.

    Give the losses to `compile` and the callback to `fit`, and call the callback's `attach` before `compile`: it makes
    the balancer part of the model, so that what it learns is learnt, and its state is saved with the model's weights.
    A balancer
    that learns nothing may stay unattached; the log of the last task then has what is missing from the sum of the
    losses to the balanced total, and only the other tasks' logs are their plain losses.

    A model that `keras.models.load_model` makes from a `.keras` file predicts and evaluates, but has no balancer. To go
    on training, load it with `compile=False`, make losses anew, call `attach` and `compile`, and then
    `model.optimizer.build(model.trainable_variables)` and `model.load_weights` with the same file: the balancer and the
    optimizer are what they were.

    In `evaluate`, and in the validation within `fit`, the losses count with `weights` alone, as in `MultiTaskModel`,
    and the balancer's state is left alone.

    Labels may be missing for a loss that is `losses.Masked`, which the balancer takes for the loss within. A task that
    has no label in a batch, or whose sample weights are all 0 there, is not active: its part of the balancer's state
    stays as it was, and its gradient is 0. By momentum, an optimizer moves its head all the same, and what the balancer
    learns for it, as it does not in `MultiTaskModel`.

    Args:
        losses: a loss for each task, by the name of the model's output: a `keras.losses.Loss`, a config of one, or a
            name that `keras.losses.get` knows.
        balancer: a name of `balancers.names()`, a config, or an instance of a balancer that looks at the losses alone.
            Defaults to `"equal"`.
        weights: what each task counts, beside what the balancer says: a number of at least 0 for each. Defaults to 1.

    Returns:
        The losses by task, for `compile`, and the callback, for `fit`.

    Raises:
        ValueError: if the balancer looks at more than the losses, or has weights of its own beside `weights`, or an
            argument is not of that kind.

    Example:

    >>> import keras, numpy as np
    >>> import keras_mtl as mtl
    >>> inputs = keras.Input((4,))
    >>> model = keras.Model(inputs, {"a": keras.layers.Dense(1)(inputs), "b": keras.layers.Dense(1)(inputs)})
    >>> losses, callback = mtl.losses.balanced({"a": "mse", "b": "mae"}, "uncertainty")
    >>> callback.attach(model)
    >>> model.compile("adam", loss=losses)
    >>> x, y = np.ones((6, 4)), {"a": np.zeros((6, 1)), "b": np.ones((6, 1))}
    >>> sorted(model.fit(x, y, callbacks=[callback], verbose=0).history)
    ['a_loss', 'b_loss', 'loss']
    """
    if not isinstance(losses, Mapping) or not losses:
        raise ValueError(f"Parameter `losses` should be a dict of losses by task name. Received: losses={losses!r}")
    found = {task: _loss(task, identifier) for task, identifier in losses.items()}
    if weights is not None:
        if not isinstance(weights, Mapping):
            raise ValueError(
                f"Parameter `weights` should be a dict of numbers by task name. Received: weights={weights!r}"
            )
        check_same_names(weights, found, what="keys of `weights`", mend="Give one weight for each loss.")
    found_balancer = _loss_balancer(balancer)
    if weights is not None and found_balancer.replaces_weights:
        raise ValueError(
            f"The balancer `{type(found_balancer).__name__}` has weights of its own for the tasks. Give them there, or "
            f"here, and not both. Received: weights={weights!r}"
        )
    numbers = [1.0 if weights is None else check_number(weights[task], f"weights[{task!r}]") for task in found]
    # A balancer may ask for the class of a loss.
    inner = [loss.loss if isinstance(loss, Masked) else loss for loss in found.values()]
    coordinator = Coordinator(found_balancer, list(found), numbers, inner)
    wrapped = {task: BalancedLoss(loss, name=f"balanced_{loss.name}") for task, loss in found.items()}
    for index, loss in enumerate(wrapped.values()):
        loss.coordinate(coordinator, index)
    return wrapped, Balancing(coordinator)


def _loss(task: str, identifier: Any) -> keras.losses.Loss:
    loss = keras.losses.get(identifier)
    if isinstance(loss, BalancedLoss):
        raise ValueError(f"The loss of task {task!r} is balanced already. Received: {identifier!r}")
    if isinstance(loss, keras.losses.Loss):
        return loss
    # A name such as "mse" gives a function, which has no sample weights: the class of that name has.
    folded = getattr(loss, "__name__", "").replace("_", "").lower()
    for name, cls in vars(keras.losses).items():
        if name.lower() == folded and isinstance(identifier, str) and isinstance(cls, type):
            return cls()
    raise ValueError(
        f"The loss of task {task!r} should be a `keras.losses.Loss`, its config, or the name of one of Keras' losses. "
        f"Received: {identifier!r}. A function becomes one by a subclass of `keras.losses.Loss` that calls it."
    )


def _loss_balancer(identifier: Any) -> balancers.LossBalancer:
    if isinstance(identifier, (list, tuple)):
        raise ValueError(
            "Parameter `balancer` should be one balancer of losses: a list has one of gradients too, which only "
            f"`keras_mtl.MultiTaskModel` can serve. Received: balancer={identifier!r}"
        )
    balancer = balancers.get(identifier)
    if isinstance(balancer, balancers.DirectionBalancer):
        reason = "combines the tasks' gradients"
    elif isinstance(balancer, balancers.BilevelBalancer):
        reason = "looks at the losses on a second stream of data"
    elif isinstance(balancer, balancers.GradientNormBalancer):
        reason = "looks at the sizes of the tasks' gradients"
    elif isinstance(balancer, balancers.LossBalancer) and balancer.needs_after_step:
        reason = "looks at the losses once more after each step"
    elif isinstance(balancer, balancers.LossBalancer):
        return balancer
    else:
        reason = "is of a kind that it does not know"
    raise ValueError(
        f"`losses.balanced` takes balancers that look at the losses of the batch alone; `{type(balancer).__name__}` "
        f"{reason}. Make the model a `keras_mtl.MultiTaskModel`, and give the balancer to its `compile`."
    )
