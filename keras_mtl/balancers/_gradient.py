"""The contracts of the balancers that combine the tasks' gradients."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import Any, ClassVar

from keras import ops

from keras_mtl._checks import check_integer, check_one_of
from keras_mtl.balancers._base import Balancer


class DirectionBalancer(Balancer):
    """A balancer that combines the tasks' gradients of the shared parameters into one direction.

    Parameters of one task alone keep the gradient of that task's own loss. A task that reaches no shared weight that is
    trained, or whose loss is multiplied by 0, is for the balancer as if it were not.
    """

    cost = "one backward pass a task"

    #: The loss balancer that goes before it where the user names none.
    default_losses: ClassVar[str] = "equal"
    #: Whether `direction` is to be called with the gradients themselves: a Gramian is not enough.
    needs_jacobian: ClassVar[bool] = False

    gradients: str = "shared"
    update_every: int = 1

    @abc.abstractmethod
    def direction(self, jacobian: Any, active: Any = None) -> Any:
        """The balanced gradient, for training loops of one's own and for checks.

        Args:
            jacobian: the tasks' gradients, one in each row, `[num_tasks, num_parameters]`.
            active: whether each task counts, booleans `[num_tasks]`. Defaults to all.

        Returns:
            The direction, `[num_parameters]`. A descent step subtracts it. Where a gradient is not finite, neither
            is the direction, and the state is what it was. Where the balancer needs the Gramian of the gradients, one
            whose square has no place in the balancer's type counts as not finite: in float32, one longer than 1.8e19.
        """

    def _prepared(self, jacobian: Any, active: Any) -> tuple[Any, Any]:
        """As tensors, the gradients of tasks that do not count set to zero."""
        jacobian, active = self._as_tensors(jacobian, active)
        return ops.where(ops.expand_dims(active, 1), jacobian, 0.0), active

    def _as_tensors(self, jacobian: Any, active: Any) -> tuple[Any, Any]:
        jacobian = ops.convert_to_tensor(jacobian, dtype=self.compute_dtype)
        active = ops.convert_to_tensor([True] * jacobian.shape[0] if active is None else active, dtype="bool")
        if not self.built:
            self.build(jacobian.shape)
        return jacobian, active


class GramianBalancer(DirectionBalancer):
    """A balancer that weighs the tasks' gradients by their inner products.

    The parameters that several tasks share are moved along `weights @ jacobian`, where `jacobian[num_tasks,
    num_parameters]` has a task's gradient in each row.

    Args:
        gradients: which gradients. `"shared"`: of all shared parameters, exactly, at the cost of one backward pass a
            task. `"features"`: of the features where shared and task-specific layers meet, which costs next to
            nothing (O. Sener, V. Koltun, NeurIPS 2018, section 3.3). Defaults to `"shared"`.
        update_every: the number of steps for which weights are used, before they are worked out anew; sooner in a step
            with a task that was not active when they were. Defaults to 1.
        **kwargs: the arguments of `keras.layers.Layer`: `name`, `trainable`, and `dtype`, by default float32.
    """

    needs = "Gramian of the gradients"

    #: Whether gradients of two tasks are compared, and not only their lengths.
    compares: ClassVar[bool] = True
    #: Whether the weights follow the Gramian; if not, one backward pass does for all tasks.
    needs_gramian: ClassVar[bool] = True

    def __init__(self, *, gradients: str = "shared", update_every: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gradients = check_one_of(gradients, "gradients", ["shared", "features"])
        self.update_every = check_integer(update_every, "update_every")

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates what `update_every` remembers."""
        if not self.built and self.update_every > 1:
            tasks = (input_shape[0],)
            self._last_weights = self.add_weight(shape=tasks, initializer="zeros", trainable=False, name="last_weights")
            self._known = self.add_weight(
                shape=tasks, dtype="bool", initializer="zeros", trainable=False, name="known_weights"
            )
            self._age = self.add_weight(shape=tasks, dtype="int32", initializer="zeros", trainable=False, name="age")
        super().build(input_shape)

    @abc.abstractmethod
    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the gradients; updates the state, but not that of a task that is not active.

        Args:
            gramian: the inner products of the tasks' gradients, finite, `[num_tasks, num_tasks]`.
            active: whether each task counts, booleans `[num_tasks]`. The gradient of a task that does not is zero.

        Returns:
            The weights, `[num_tasks]`. What is said for a task that is not active is set to 0.
        """

    def track(self, jacobian: Any, active: Any) -> Any:
        """The gradients to be weighed, `[num_tasks, num_parameters]`: those given, unless the method averages them.

        A balancer that overrides it has `needs_jacobian` and `keeps_gradients`, and gets finite gradients.
        """
        del active
        return jacobian

    def weigh(self, gramian: Any, active: Any) -> Any:
        """`call` with its guards: what the engine uses.

        Args:
            gramian: the inner products of the tasks' gradients, `[num_tasks, num_tasks]`.
            active: whether each task counts, booleans `[num_tasks]`.

        Returns:
            The weights, `[num_tasks]`: 0 for a task that does not count, NaN for all where the Gramian is not finite;
            the state is then what it was.
        """
        gramian = ops.convert_to_tensor(gramian, dtype=self.compute_dtype)
        active = ops.convert_to_tensor(active, dtype="bool")
        finite = ops.all(ops.isfinite(gramian))
        counted = ops.logical_and(active, finite)
        pairs = ops.logical_and(ops.expand_dims(counted, 0), ops.expand_dims(counted, 1))
        with self.random_streams_kept_unless(ops.any(counted)):
            weights = ops.where(counted, self(ops.where(pairs, gramian, 0.0), counted), 0.0)
        if self.update_every > 1:
            any_counts = ops.any(counted)
            self._last_weights.assign(ops.where(counted, weights, self._last_weights))
            self._known.assign(ops.where(any_counts, counted, self._known))
            self._age.assign(ops.where(any_counts, 0, self._age))
        return ops.where(finite, weights, float("nan"))

    def weigh_when_due(self, gramian: Any, active: Any) -> Any:
        """As `weigh`, but with `update_every` the last weights where new ones are not due. Counts the step.

        Args:
            gramian: the inner products of the tasks' gradients, `[num_tasks, num_tasks]`.
            active: whether each task counts, booleans `[num_tasks]`.
        """
        if self.update_every == 1:
            return self.weigh(gramian, active)
        due = self.is_due(active)
        weights = self.weigh(gramian, ops.logical_and(active, due))
        self.advance(active)
        return ops.where(due, weights, self.last_weights(active))

    def is_due(self, active: Any) -> Any:
        """Whether weights are to be worked out in this step, a boolean tensor, if `update_every` is above 1.

        They are if the last have served for that many steps, or a task is active that was not when they were worked
        out: weights balance those tasks that were weighed together. Where working them out failed, as a gradient was
        not finite, they stay due.
        """
        active = ops.convert_to_tensor(active, dtype="bool")
        if not self.built:
            self.build((active.shape[0],))
        unknown = ops.logical_and(active, ops.logical_not(self._known))
        old = ops.any(self._age >= self.update_every)  # all have one age
        return ops.logical_or(ops.any(unknown), ops.logical_and(ops.any(active), old))

    def advance(self, active: Any) -> None:
        """Counts a step in which a task is active, if `update_every` is above 1."""
        self._age.assign(self._age + ops.cast(ops.any(active), "int32"))

    def last_weights(self, active: Any) -> Any:
        """The weights worked out last, `[num_tasks]`, 0 for a task that is not active."""
        return ops.where(active, ops.convert_to_tensor(self._last_weights), 0.0)

    def direction(self, jacobian: Any, active: Any = None) -> Any:
        """The weighted sum of the gradients, or of their moving averages where the method keeps such."""
        jacobian, active = self._prepared(jacobian, active)
        finite = self.has_place(jacobian)
        tracked = self.track(ops.where(finite, jacobian, 0.0), ops.logical_and(active, finite))
        if self.needs_gramian:
            gramian = ops.matmul(tracked, ops.transpose(tracked))
        else:
            gramian = ops.zeros((jacobian.shape[0], jacobian.shape[0]), dtype=self.compute_dtype)
        weights = self.weigh_when_due(gramian, ops.logical_and(active, finite))
        return ops.where(finite, ops.matmul(weights, tracked), float("nan"))

    def has_place(self, jacobian: Any) -> Any:
        """Whether gradients are finite, and their squares too where the Gramian is needed, a boolean tensor.

        Args:
            jacobian: the tasks' gradients, those that do not count zero, `[num_tasks, num_parameters]`.
        """
        numbers = ops.sum(ops.square(jacobian), axis=1) if self.needs_gramian else jacobian
        return ops.all(ops.isfinite(numbers))

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {**super().get_config(), "gradients": self.gradients, "update_every": self.update_every}


class GradientBalancer(DirectionBalancer):
    """A balancer that needs every number of the tasks' gradients of the shared parameters."""

    needs = "gradients"
    needs_jacobian = True

    #: Whether a number of the direction follows from the same number of each task's gradient, and nothing else is
    #: remembered but a random stream: it is then called with the gradients of one variable after the other, and what
    #: is said of gradients that are not finite is said of each variable.
    by_number: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """What a class says of its `call` is not said of another one, which comes before it."""
        super().__init_subclass__(**kwargs)

        def place(name: str) -> int:
            return next(index for index, each in enumerate(cls.__mro__) if name in vars(each))

        if place("by_number") > min(place("call"), place("direction")):
            cls.by_number = False

    @abc.abstractmethod
    def call(self, jacobian: Any, active: Any) -> Any:
        """The direction; updates the state, but not that of a task that is not active.

        Args:
            jacobian: the tasks' gradients, finite, one in each row, `[num_tasks, num_parameters]`.
            active: whether each task counts, booleans `[num_tasks]`. The gradient of a task that does not is zero.

        Returns:
            The direction, `[num_parameters]`.
        """

    def direction(self, jacobian: Any, active: Any = None) -> Any:
        """`call` with its guards: NaN where a gradient is not finite."""
        given, active = self._as_tensors(jacobian, active)

        def looked_at() -> tuple[Any, Any]:
            chosen = ops.where(ops.expand_dims(active, 1), given, 0.0)
            finite = ops.all(ops.isfinite(chosen))
            return ops.where(finite, chosen, 0.0), finite

        # As a rule all tasks count and all is finite: one sum tells that, and no copy is made.
        usual = ops.logical_and(ops.all(active), ops.isfinite(ops.sum(given)))
        jacobian, finite = ops.cond(usual, lambda: (given, usual), looked_at)
        counted = ops.logical_and(active, finite)
        with self.random_streams_kept_unless(ops.any(counted)):
            found = self(jacobian, counted)
        return ops.cond(finite, lambda: found, lambda: ops.full_like(found, float("nan")))
