"""The contracts of the balancers: losses to weights, or the gradients' Gramian to weights."""

from __future__ import annotations

import abc
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_mtl._registry import Registry


class Balancer(keras.layers.Layer):
    """What settles the tasks' conflict. A Keras layer, so that its state is saved, restored and mirrored.

    Args:
        dtype: what the maths is computed in. Defaults to float32, under mixed precision too.
        **kwargs: the other arguments of `keras.layers.Layer`: `name`, `trainable`.
    """

    #: Whether the balancer has an effect on a model of one task.
    useful_for_one_task = False

    def __init__(self, *, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        self._owner: Callable[[], keras.Model | None] = lambda: None

    def bind(self, names: Sequence[str], weights: Sequence[float], losses: Sequence[keras.losses.Loss]) -> None:
        """Tells the balancer the tasks, in the order of every vector it will see. `compile` calls it.

        Args:
            names: the names of the tasks.
            weights: the `weight` of each task.
            losses: the loss of each task.
        """
        del weights, losses
        if not self.built:
            self.build((len(names),))
        if self.num_tasks != len(names):
            raise ValueError(
                f"The balancer `{type(self).__name__}` has state for {self.num_tasks} tasks. Received: {len(names)} "
                "tasks. Make a new one."
            )

    def claim(self, model: keras.Model) -> None:
        """Makes the balancer that model's own: two models would overwrite each other's state.

        Raises:
            ValueError: if it is another model's already.
        """
        owner = self._owner()
        if owner is not None and owner is not model:
            raise ValueError(
                f"The balancer `{type(self).__name__}` belongs to the model {owner.name!r} already. Received: "
                f"the model {model.name!r}. Give each model a balancer of its own."
            )
        self._owner = weakref.ref(model)

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Creates the state, if there is any, for `input_shape[0]` tasks."""
        self.num_tasks = input_shape[0]
        self.built = True

    def save_own_variables(self, store: Any) -> None:
        """Saves the state, that of random generators included, which a Keras layer leaves out."""
        for index, variable in enumerate(self.variables):
            store[str(index)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        for index, variable in enumerate(self.variables):
            variable.assign(store[str(index)])


class LossBalancer(Balancer):
    """A balancer that looks at the losses alone: each loss is multiplied by its weight before the one backward pass.

    A subclass overrides `call`. Gradients flow through the weights, so that they may be learnt.
    """

    _preference: np.ndarray | None = None

    def bind(self, names: Sequence[str], weights: Sequence[float], losses: Sequence[keras.losses.Loss]) -> None:
        """Takes the tasks' `weight`s as the preference."""
        self._preference = np.asarray(weights, "float64")
        super().bind(names, weights, losses)

    def preference(self, num_tasks: int) -> Any:
        """What each task counts, `[num_tasks]`: the tasks' own `weight`s, or ones if no model was compiled.

        The total loss that `evaluate` reports is weighted by it alone, so that it can be compared between balancers.
        """
        values = np.ones(num_tasks) if self._preference is None else self._preference
        if len(values) != num_tasks:
            raise ValueError(
                f"The balancer `{type(self).__name__}` was told of {len(values)} tasks. Received: {num_tasks} losses"
            )
        return ops.convert_to_tensor(values, dtype=self.compute_dtype)

    @abc.abstractmethod
    def call(self, losses: Any, active: Any) -> Any:
        """The weights of the losses.

        Args:
            losses: the tasks' losses, `[num_tasks]`, means over the whole batch of all replicas. No gradient flows
                through them.
            active: whether each task has a label in the batch, booleans `[num_tasks]`.

        Returns:
            The weights, `[num_tasks]`, 0 for a task that is not active.
        """

    def regularization(self, active: Any) -> Any:
        """A term that is added to the weighted losses, a scalar. Zero unless the method has one."""
        del active
        return ops.zeros((), dtype=self.compute_dtype)


class GramianBalancer(Balancer):
    """A balancer that weighs the tasks' gradients by their inner products.

    The parameters that several tasks share are moved along `weights @ jacobian`, where `jacobian[num_tasks,
    num_parameters]` has a task's gradient in each row. Parameters of one task alone keep that task's own gradient.
    """

    @abc.abstractmethod
    def call(self, gramian: Any, active: Any) -> Any:
        """The weights of the gradients.

        Args:
            gramian: the inner products of the tasks' gradients, `[num_tasks, num_tasks]`.
            active: whether each task has a label in the batch, booleans `[num_tasks]`. The gradient of a task that
                has none is zero.

        Returns:
            The weights, `[num_tasks]`, 0 for a task that is not active.
        """

    def direction(self, jacobian: Any, active: Any = None) -> Any:
        """The balanced gradient, for training loops of one's own and for checks.

        Args:
            jacobian: the tasks' gradients, one in each row, `[num_tasks, num_parameters]`.
            active: whether each task counts, booleans `[num_tasks]`. Defaults to all.

        Returns:
            The direction, `[num_parameters]`. A descent step subtracts it.
        """
        jacobian = ops.convert_to_tensor(jacobian, dtype=self.compute_dtype)
        active = ops.convert_to_tensor([True] * jacobian.shape[0] if active is None else active, dtype="bool")
        weights = self(ops.matmul(jacobian, ops.transpose(jacobian)), active)
        return ops.matmul(weights, jacobian)


registry: Registry[Balancer] = Registry("balancer", Balancer)
