"""What all balancers have in common: state for the tasks, their weights, one model for each instance."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from keras_mtl._registry import Registry
from keras_mtl._source import Source


class Balancer(keras.layers.Layer):
    """What settles the tasks' conflict. A Keras layer, so that its state is saved, restored and mirrored.

    A subclass gives the class attributes `source`, and where it is so `takes_preference`, `min_tasks` and
    `useful_for_one_task`.

    Args:
        dtype: what the maths is computed in, float32 or float64. Defaults to float32, under mixed precision too.
        **kwargs: the other arguments of `keras.layers.Layer`: `name`, `trainable`.

    Raises:
        ValueError: if `dtype` is another one.
    """

    #: Where the method was published, or None for what needs no source.
    source: ClassVar[Source | None] = None
    #: What the method looks at, in the words of the table of methods.
    needs: ClassVar[str]
    #: What a step costs beside a plain one, in the words of the table of methods.
    cost: ClassVar[str]
    #: Whether the tasks' `weight`s have a place within the method: its preference vector.
    takes_preference: ClassVar[bool] = False
    #: With fewer tasks the method is not defined.
    min_tasks: ClassVar[int] = 1
    #: Whether the state has a number for each number of a task's gradient.
    keeps_gradients: ClassVar[bool] = False
    #: Whether the balancer has an effect on a model of one task.
    useful_for_one_task: ClassVar[bool] = False

    _preference: np.ndarray | None = None

    def __init__(self, *, dtype: Any = "float32", **kwargs: Any) -> None:
        super().__init__(dtype=dtype, **kwargs)
        types = {self.compute_dtype, self.variable_dtype}
        if types not in ({"float32"}, {"float64"}):
            raise ValueError(
                f"Parameter `dtype` of the balancer `{type(self).__name__}` should be float32 or float64: shorter "
                f"numbers do not tell the tasks' gradients apart. Received: dtype={dtype!r}. Under mixed precision, "
                "leave it as it is."
            )
        self._owner: Callable[[], keras.Model | None] = lambda: None

    def bind(
        self,
        names: Sequence[str],
        weights: Sequence[float],
        losses: Sequence[keras.losses.Loss | None],
        num_gradients: int = 0,
    ) -> None:
        """Tells the balancer the tasks, in the order of every vector it will see. `compile` calls it.

        Args:
            names: the names of the tasks.
            weights: what each task counts.
            losses: the loss of each task.
            num_gradients: the length of a task's gradient, for balancers that keep state for each number of it.

        Raises:
            ValueError: if there are fewer tasks than the method needs, or the state is for others.
        """
        del losses
        if len(names) < self.min_tasks:
            raise ValueError(
                f"The balancer `{type(self).__name__}` needs at least {self.min_tasks} tasks. Received: {len(names)}, "
                f"{list(names)}"
            )
        if self.takes_preference:
            self._preference = np.asarray(weights, "float64")
        if not self.built:
            self.build((len(names), num_gradients))
        if self.num_tasks != len(names):
            raise ValueError(
                f"The balancer `{type(self).__name__}` has state for {self.num_tasks} tasks. Received: {len(names)} "
                "tasks. Make a new one."
            )
        if self.keeps_gradients and self.num_gradients != num_gradients:
            raise ValueError(
                f"The balancer `{type(self).__name__}` has state for {self.num_gradients} shared parameters or "
                f"features. Received: a model that has {num_gradients}. Make a new one."
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

    def preference(self, num_tasks: int) -> Any:
        """What each task counts, `[num_tasks]`: its `weight`, or 1 if no model was compiled or it counts elsewhere.

        The total loss that `evaluate` reports is weighted by it alone, so that it can be compared between balancers.
        """
        values = np.ones(num_tasks) if self._preference is None else self._preference
        if len(values) != num_tasks:
            raise ValueError(
                f"The balancer `{type(self).__name__}` was told of {len(values)} tasks. Received: {num_tasks} of them"
            )
        return ops.convert_to_tensor(values, dtype=self.compute_dtype)

    def build(self, input_shape: Sequence[int]) -> None:
        """Creates the state, if there is any.

        Args:
            input_shape: the number of tasks, and the length of a task's gradient if that is known, or else 0.
        """
        self.num_tasks = int(input_shape[0])
        self.num_gradients = int(input_shape[1]) if len(input_shape) > 1 else 0
        self.built = True

    @contextlib.contextmanager
    def random_streams_kept_unless(self, any_counts: Any) -> Iterator[None]:
        """Sets random streams back where no task counts, as all state is: so steps draw alike on every device."""
        weights = {id(variable) for variable in self.weights}
        streams = [variable for variable in self.variables if id(variable) not in weights]
        before = [ops.stop_gradient(variable) for variable in streams]
        yield
        for variable, value in zip(streams, before, strict=True):
            variable.assign(ops.where(any_counts, variable, value))

    def save_own_variables(self, store: Any) -> None:
        """Saves the state, that of random generators included, which a Keras layer leaves out."""
        for index, variable in enumerate(self._own_variables()):
            store[str(index)] = variable

    def load_own_variables(self, store: Any) -> None:
        """Loads what `save_own_variables` saved."""
        for index, variable in enumerate(self._own_variables()):
            variable.assign(store[str(index)])

    def _own_variables(self) -> list[keras.Variable]:
        """What `save_own_variables` saves: not the variables of a balancer within, which Keras saves for itself."""
        return list(self.variables)


registry: Registry[Balancer] = Registry("balancer", Balancer)
