"""The callback that goes with balanced losses."""

from __future__ import annotations

import functools
from typing import Any

import keras

from keras_mtl.losses._coordinator import Coordinator


class Balancing(keras.callbacks.Callback):
    """Tells balanced losses whether they are trained by, and their balancer when an epoch ends.

    `losses.balanced` makes it.

    Args:
        coordinator: what the losses share.

    Example:

    >>> from keras_mtl import losses
    >>> by_task, callback = losses.balanced({"a": "mse", "b": "mae"}, "uncertainty")
    >>> type(callback.balancer).__name__
    'Uncertainty'
    """

    def __init__(self, coordinator: Coordinator) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._guarded = False

    @property
    def balancer(self) -> Any:
        """The balancer."""
        return self._coordinator.balancer

    def attach(self, model: keras.Model) -> None:
        """Makes the balancer part of the model, its attribute `loss_balancer`. To be called before `compile`.

        Args:
            model: the model that the losses are for.

        Raises:
            ValueError: if the model has another balancer, is a `MultiTaskModel`, or it is too late: the optimizer is
                built already, or, in a model that is a subclass with a `call` of its own, the layers are.
        """
        balancer = self._coordinator.balancer
        if hasattr(type(model), "loss_balancer"):
            raise ValueError(
                f"The model {model.name!r} is a `{type(model).__name__}`, which weighs its losses itself: give the "
                "balancer to its `compile`, as `balancer`."
            )
        if getattr(model, "loss_balancer", balancer) is not balancer:
            raise ValueError(f"The model {model.name!r} has a balancer already, in its attribute `loss_balancer`.")
        balancer.claim(model)
        optimizer = getattr(model, "optimizer", None)
        if balancer.trainable_weights and optimizer is not None and optimizer.built and not self._coordinator.attached:
            raise ValueError(
                f"The balancer `{type(balancer).__name__}` has weights to learn, and the optimizer of the model "
                f"{model.name!r} is built without them. Call `attach` first, and then `compile`. Load a model from a "
                "file for that by `keras.models.load_model(..., compile=False)`."
            )
        try:
            model.loss_balancer = balancer
        except ValueError as error:
            raise ValueError(
                f"The model {model.name!r} was called before, and takes no new layers. Call `attach` on a new one, "
                "right after it is made."
            ) from error
        self._coordinator.attached = True

    def set_model(self, model: keras.Model) -> None:
        """Keras says which model is trained.

        Args:
            model: the model.

        Raises:
            ValueError: if the balancer is another model's, has weights to learn and is not attached, or the model is
                trained by weights of losses or replicas that the balancer would not see.
        """
        super().set_model(model)
        balancer = self._coordinator.balancer
        balancer.claim(model)
        self._guard_evaluation(model)
        if balancer.trainable_weights and not self._coordinator.attached:
            raise ValueError(
                f"The balancer `{type(balancer).__name__}` has weights to learn, and is no part of the model "
                f"{model.name!r}. Call the callback's `attach(model)`, and then `compile`."
            )
        replicas = model.distribute_strategy.num_replicas_in_sync
        if replicas > 1:
            raise ValueError(
                "Balanced losses see the losses of one replica only. Make the model a `keras_mtl.MultiTaskModel`, "
                f"which balances those of the whole batch. Received: a model on {replicas} replicas"
            )
        # Private: the public `get_compile_config` makes configs of all that was compiled, which some of it has not.
        # tests/unit/losses/test_balanced.py would notice.
        compiled = getattr(model, "_compile_config", None)
        given = None if compiled is None else compiled.config.get("loss_weights")
        if given is not None:
            raise ValueError(
                "Weights of balanced losses are given to `losses.balanced(..., weights=...)`, and not to `compile`. "
                f"Received: loss_weights={given!r}"
            )

    def _guard_evaluation(self, model: keras.Model) -> None:
        """Makes the model evaluate as such within a step of training too, and after one that broke off.

        Keras traces a step but once: what the losses are for is to be right while it does.
        """
        if self._guarded:
            return
        test_step = model.test_step

        @functools.wraps(test_step)
        def guarded(*arguments: Any) -> Any:
            with self._coordinator.evaluating():
                return test_step(*arguments)

        model.test_step = guarded
        model.test_function = None  # what Keras has made of the other one, if anything
        self._guarded = True

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Forgets the losses of the epoch before."""
        self._coordinator.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Tells the balancer the mean losses of the epoch."""
        self._coordinator.end_epoch()

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """From now on the losses are trained by."""
        self._coordinator.begin_step()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """From now on the losses are evaluated."""
        self._coordinator.end_step()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """From now on the losses are evaluated."""
        self._coordinator.end_step()
