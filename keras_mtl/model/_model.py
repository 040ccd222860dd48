"""A Functional Keras model whose outputs are tasks."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl import tasks as task_kinds
from keras_mtl._registry import serializable
from keras_mtl.model._arguments import check_outputs
from keras_mtl.model._catch_up import put_back
from keras_mtl.model._compiled_model import CompiledModel
from keras_mtl.model._faults import raise_on_fault
from keras_mtl.model._fit import check_labels, check_train_on_batch, complete_weights, prepare_for_fit
from keras_mtl.model._progress import Progress


@serializable
class MultiTaskModel(CompiledModel):
    """A Functional `keras.Model` with one output for each task, trained by plain `fit`.

    `build_model` makes one from a backbone; this class also takes a graph that was built by hand. The tasks bring
    losses and metrics, the balancer of `compile` settles their conflict. Labels come as a dict by task name, and the
    logs have `loss`, `{task}_loss` and `{task}_{metric}`. Parameters from which several outputs can be reached are
    shared; those of one task alone always receive that task's own gradient.

    Args:
        inputs: the `keras.Input`s of the graph: one, a list or a dict.
        outputs: its outputs `(batch, ...)`, by task name.
        tasks: the tasks: instances, or configs.
        name: the name of the model.

    Raises:
        ValueError: if task names are repeated, outputs and tasks do not match, or an output has another size than its
            task.

    Example:

    >>> import keras, numpy as np
    >>> from keras_mtl import MultiTaskModel, tasks
    >>> inputs = keras.Input((4,))
    >>> trunk = keras.layers.Dense(8, activation="relu")(inputs)
    >>> outputs = {
    ...     "kind": keras.layers.Dense(3, activation="softmax")(trunk),
    ...     "size": keras.layers.Dense(1)(trunk),
    ... }
    >>> model = MultiTaskModel(inputs, outputs, [tasks.Classification("kind", 3), tasks.Regression("size")])
    >>> model.compile("adam", balancer="uncertainty")
    >>> x, y = np.ones((6, 4)), {"kind": np.zeros(6, int), "size": np.ones(6)}
    >>> sorted(model.fit(x, y, verbose=0).history)
    ['kind_accuracy', 'kind_loss', 'loss', 'size_loss', 'size_mae']
    """

    def __init__(
        self, inputs: Any, outputs: Mapping[str, Any], tasks: Sequence[Any], name: str | None = None, **kwargs: Any
    ) -> None:
        tasks = task_kinds.get_all(tasks)
        check_outputs(outputs, tasks)
        super().__init__(inputs, {task.name: outputs[task.name] for task in tasks}, name=name, **kwargs)
        self._set_tasks(tasks)
        self._observers: list[Callable[[Any], None]] = []
        self.progress = Progress()

    def compile(  # noqa: A003
        self,
        optimizer: Any = "rmsprop",
        balancer: Any = "equal",
        loss: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        weighted_metrics: Mapping[str, Any] | None = None,
        on_nonfinite: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Configures the model for training.

        Args:
            optimizer: as in `keras.Model.compile`.
            balancer: a name of `balancers.names()`, an instance, a config, or a list of a loss balancer followed by a
                gradient balancer. Defaults to `"equal"`.
            loss: losses by task, in place of the tasks' own.
            metrics: lists of metrics by task, in place of the tasks' own. They leave out missing labels, and no more.
            weighted_metrics: lists of metrics by task that count sample weights, beside the others.
            on_nonfinite: what happens in a training step in which the loss of a task, or its gradient, is NaN or
                infinite. None: nothing, as in Keras. `"skip"`: the task is left out of the step, as if it had no label
                in the batch, and the logs count such steps by `{task}_skipped`; where a gradient goes wrong only below
                the features or in a regularization loss, and the task cannot be told, all are left out. Of a kernel
                that several tasks share, the gradients of the first output and of the bias tell it: finite numbers
                whose product alone is beyond float32 are not looked for there. `"raise"`: the
                whole step is left out, and an error names the task and the step; that waits for each step. In float16,
                gradients that are not finite are the optimizer's affair, until the scale of the losses is 1. Defaults
                to None.
            **kwargs: `run_eagerly`, `steps_per_execution`, `jit_compile` and `auto_scale_loss`, as
                in `keras.Model.compile`.

        Raises:
            ValueError: if the balancer is unknown, a key is no task's, `loss_weights` are given, `on_nonfinite` is
                unknown or given with a bilevel balancer, or, under a strategy of several replicas, `jit_compile=True`
                or synchronized batch normalization with gradients by task.

        Example:

        >>> import keras_mtl as mtl
        >>> model = mtl.build_model("mlp", [mtl.tasks.Regression("a"), mtl.tasks.Regression("b")], input_shape=(3,))
        >>> model.compile("adam", balancer=["uncertainty", "pcgrad"])
        """
        self._configure(optimizer, balancer, loss, metrics, weighted_metrics, on_nonfinite, **kwargs)
        self._optimize(self.trainable_variables)

    def fit(
        self, x: Any = None, y: Any = None, *args: Any, balancing_data: Any = None, **kwargs: Any
    ) -> keras.callbacks.History:
        """Trains the model: `keras.Model.fit`, with the labels checked first.

        Args:
            x: inputs, or a data set that yields `(inputs, {label: values})`.
            y: arrays of labels by key, where `x` is inputs.
            *args: as in `keras.Model.fit`.
            balancing_data: a batched `tf.data.Dataset` like the training data, for a balancer that follows the losses
                on a second stream, such as `auto_lambda`. It is repeated as needed.
            **kwargs: as in `keras.Model.fit`. `class_weight` is a dict by the keys of the labels of dicts of weights by
                class.

        Raises:
            ValueError: for labels without a task, tasks without a label, and labels of the wrong shape, dtype or
                range: before any training, or, for values in a data set, before their batch is trained on.
        """
        bound = inspect.signature(super().fit).bind(x, y, *args, **kwargs)
        with put_back(self):
            prepare_for_fit(self, bound.arguments, balancing_data)
            self.forget_observers()  # of a `fit` that was broken off
            with engine.as_value_error(self.tasks):
                return super().fit(*bound.args, **bound.kwargs)

    def evaluate(self, x: Any = None, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates the model: `keras.Model.evaluate`, with the labels checked first.

        `loss` is the sum of the losses weighted by the tasks' own weights, or by those given to `Fixed`, plus the
        model's regularization: no other balancer has a say in it.

        Args:
            x: inputs, or a data set that yields `(inputs, {label: values})`.
            y: arrays of labels by key, where `x` is inputs.
            *args: as in `keras.Model.evaluate`.
            **kwargs: as in `keras.Model.evaluate`.

        Raises:
            ValueError: as in `fit`.
        """
        # A private argument, with which `fit` calls for each epoch; `fit` has checked. Without it in a later Keras, the
        # data would be checked again, which tests/unit/model/test_model.py would notice.
        if not kwargs.get("_use_cached_eval_dataset"):
            x = check_labels(self, engine.strings_as_tensors(x), y)
            bound = inspect.signature(super().evaluate).bind(x, y, *args, **kwargs)
            complete_weights(self, bound.arguments)
            args, kwargs = bound.args[2:], bound.kwargs
        with engine.as_value_error(self.tasks):
            return super().evaluate(x, y, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """The predictions by task: `keras.Model.predict`, of arrays of strings too."""
        return super().predict(engine.strings_as_tensors(x), *args, **kwargs)

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """One update from one batch: `keras.Model.train_on_batch`, with the labels checked first."""
        check_train_on_batch(self, kwargs)
        check_labels(self, x, y, whole=False)
        logs = super().train_on_batch(x, y, *args, **kwargs)
        if self.on_nonfinite == "raise":
            raise_on_fault(self, "the batch")
        return logs

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Evaluates one batch: `keras.Model.test_on_batch`, with the labels checked first."""
        check_labels(self, x, y, whole=False)
        return super().test_on_batch(x, y, *args, **kwargs)

    def predict_on_batch(self, x: Any) -> Any:
        """The predictions of one batch: `keras.Model.predict_on_batch`, over several replicas too."""
        if self.distribute_strategy.num_replicas_in_sync > 1:
            return self.predict(x, verbose=0)  # Keras hands each replica the whole batch, and its rows come repeated
        return super().predict_on_batch(x)
