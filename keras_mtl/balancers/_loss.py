"""The contracts of the balancers that weigh losses."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_mtl._checks import check_one_of
from keras_mtl.balancers._base import Balancer


class LossBalancer(Balancer):
    """A balancer that looks at the losses alone: each loss is multiplied by its weight before the one backward pass.

    A subclass overrides `call`, which also updates its state. Gradients flow through the weights to the balancer's
    trainable weights, so that the model's optimizer learns them; they flow through nothing else. The tasks' `weight`s
    are the preference, by which each loss is multiplied beside the method's own weight.
    """

    needs = "losses"
    cost = "none"
    takes_preference = True

    #: Whether the engine calls `on_epoch_end`.
    needs_epoch_end: ClassVar[bool] = False
    #: Whether the engine evaluates the losses of the batch once more after the update, and calls `after_step`.
    needs_after_step: ClassVar[bool] = False

    @property
    def replaces_weights(self) -> bool:
        """Whether the balancer has weights of the user's that stand in place of the tasks' own."""
        return False

    @abc.abstractmethod
    def call(self, losses: Any, active: Any) -> Any:
        """The weights of the losses; updates the state, but not that of a task that is not active.

        Args:
            losses: the tasks' losses, `[num_tasks]`, means over the whole batch of all replicas. No gradient flows
                through them.
            active: whether each task has a label in the batch, booleans `[num_tasks]`. The loss of a task that has
                none is 0.

        Returns:
            The weights, `[num_tasks]`, 0 for a task that is not active.
        """

    def regularization(self, active: Any) -> Any:
        """A term that is added to the weighted losses, a scalar. Zero unless the method has one."""
        del active
        return ops.zeros((), dtype=self.compute_dtype)

    def on_epoch_end(self, losses: Any, active: Any) -> None:
        """Updates the state after an epoch, if `needs_epoch_end`.

        Args:
            losses: the tasks' mean losses over the epoch, `[num_tasks]`.
            active: whether each task had a label in the epoch, booleans `[num_tasks]`.
        """

    def after_step(self, losses: Any, active: Any) -> None:
        """Updates the state after an update of the weights, if `needs_after_step`.

        Args:
            losses: the tasks' losses on the same batch after the update, with the same dropout, `[num_tasks]`.
            active: whether each task has a label in the batch, booleans `[num_tasks]`.
        """


class GradientNormBalancer(LossBalancer):
    """A balancer that weighs losses, and looks at the sizes of the tasks' gradients for that.

    A task that reaches no shared weight that is trained, or whose `weight` is 0, keeps its `weight`.

    Args:
        gradients: which gradients. `"features"`: of a bias added to the features where shared and task-specific
            layers meet, so summed over the batch, and over positions where the features are maps: they cost next to
            nothing. `"shared"`: of all shared parameters, at the cost of one backward pass a task. Defaults to
            `"features"`.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.
    """

    needs = "losses and gradients"
    cost = "little"

    def __init__(self, *, gradients: str = "features", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gradients = check_one_of(gradients, "gradients", ["shared", "features"])

    def weigh(self, losses: Any, active: Any, jacobian: Any) -> Any:
        """`call` with its guards: what the engine uses. Where a gradient is not finite, neither are the weights.

        Args:
            losses: the tasks' losses, `[num_tasks]`.
            active: whether each task has a label in the batch, booleans `[num_tasks]`.
            jacobian: the gradients of the losses, `[num_tasks, num_gradients]`.
        """
        jacobian = ops.where(ops.expand_dims(active, 1), ops.cast(jacobian, self.compute_dtype), 0.0)
        finite = ops.all(ops.isfinite(jacobian))
        weights = self(losses, ops.logical_and(active, finite), ops.where(finite, jacobian, 0.0))
        return ops.where(finite, weights, float("nan"))

    @abc.abstractmethod
    def call(self, losses: Any, active: Any, jacobian: Any) -> Any:  # type: ignore[override]
        """The weights of the losses; updates the state, but not that of a task that is not active.

        Args:
            losses: the tasks' losses, `[num_tasks]`.
            active: whether each task has a label in the batch, booleans `[num_tasks]`.
            jacobian: the gradients of the losses, before any weight, one task's in each row,
                `[num_tasks, num_gradients]`; zero for a task that is not active.

        Returns:
            The weights, `[num_tasks]`, 0 for a task that is not active.
        """

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "gradients": self.gradients}


class BilevelBalancer(LossBalancer):
    """A balancer whose weights follow the losses on a second stream of data, given to `fit` as `balancing_data`.

    For each step the engine takes a batch of that stream, moves the parameters a step of plain gradient descent on
    the weighted training losses ahead, and tells `lookahead` how each task's training loss bears on the loss there.
    """

    needs = "losses on a second stream of data"
    cost = "about three further passes"

    _second_stream: Sequence[float] | None = None

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Tells the balancer the tasks, whose weights are those on the second stream too, until other ones are told."""
        self._second_stream = None
        super().bind(names, weights, losses, num_gradients)

    def bind_second_stream(self, weights: Sequence[float]) -> None:
        """Tells the balancer what each task counts on the second stream. `compile` calls it, after `bind`.

        Args:
            weights: the `weight` of each task, which `bind` is not told where a gradient balancer takes them.
        """
        self._second_stream = list(weights)

    def second_stream_weights(self, num_tasks: int) -> Any:
        """What each task counts on the second stream, `[num_tasks]`: its `weight`, or else the preference."""
        if self._second_stream is None:
            return self.preference(num_tasks)
        return ops.convert_to_tensor(self._second_stream, dtype=self.compute_dtype)

    @abc.abstractmethod
    def primary_weights(self) -> Any:
        """What each task counts in the loss on the second stream, `[num_tasks]`."""

    @abc.abstractmethod
    def lookahead(self, slopes: Any, learning_rate: Any, active: Any) -> None:
        """Updates the state before a step.

        Args:
            slopes: the inner product of each task's gradient on the training batch with the gradient of the loss on
                the second stream, at the parameters one step ahead, `[num_tasks]`.
            learning_rate: of that step, a scalar.
            active: whether each task has a label in the training batch, booleans `[num_tasks]`.
        """
