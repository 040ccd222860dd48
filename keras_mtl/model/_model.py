"""A Functional Keras model whose outputs are tasks."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl import tasks as task_kinds
from keras_mtl._registry import serializable
from keras_mtl.balancers import DirectionBalancer, LossBalancer, bind_pair, get_pair
from keras_mtl.model._arguments import (
    check_call,
    check_on_nonfinite,
    check_outputs,
    check_replicas,
    check_sharing,
    check_strategy,
    losses_by_task,
    metrics_by_task,
)
from keras_mtl.model._faults import raise_on_fault
from keras_mtl.model._fit import check_labels, check_train_on_batch, complete_weights, prepare_for_fit
from keras_mtl.model._logs import logs_of
from keras_mtl.model._progress import Progress
from keras_mtl.model._resume import own_function_back
from keras_mtl.model._stepped_model import SteppedModel
from keras_mtl.model._trackers import TaskMeans, TaskSums
from keras_mtl.optimizers import bind_to_model


@serializable
class MultiTaskModel(SteppedModel):
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
        self.tasks = tasks
        self.task_loss_tracker = TaskMeans([f"{task.name}_loss" for task in tasks], name="task_losses")
        # A tracked list, emptied and filled by `compile`: an attribute that is set anew would leave the variables of
        # the balancer before among the model's.
        self._balancers: list[Any] = []
        self._metrics_of_tasks: list[keras.metrics.Metric] = []
        self._fault_counters: list[TaskSums] = []
        self.on_nonfinite: str | None = None
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
                the features or in a regularization loss, and the task cannot be told, all are left out. `"raise"`: the
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

    def _configure(
        self,
        optimizer: Any,
        balancer: Any,
        loss: Mapping[str, Any] | None = None,
        metrics: Mapping[str, Any] | None = None,
        weighted_metrics: Mapping[str, Any] | None = None,
        on_nonfinite: str | None = None,
        **kwargs: Any,
    ) -> None:
        """All that `compile` does but for building the optimizer."""
        if "loss_weights" in kwargs:
            raise ValueError(
                "Weights of losses are given by the tasks or the balancer here. Give the tasks a `weight`, or pass "
                f"balancer=balancers.Fixed(...). Received: loss_weights={kwargs['loss_weights']!r}"
            )
        check_strategy(self, kwargs)
        losses = losses_by_task(loss, self.tasks)
        plain = {
            **{task.name: task.metrics for task in self.tasks},
            **metrics_by_task(metrics, self.tasks, "metrics"),
        }
        weighted = metrics_by_task(weighted_metrics, self.tasks, "weighted_metrics")
        loss_balancer, gradient_balancer = get_pair(balancer)
        check_on_nonfinite(on_nonfinite, loss_balancer)
        found = [part for part in (loss_balancer, gradient_balancer) if part is not None]
        for part in found:
            part.claim(self)
            if len(self.tasks) == 1 and not part.useful_for_one_task:
                warnings.warn(
                    f"The balancer `{type(part).__name__}` settles a conflict between tasks, and this model has one, "
                    f"{self.tasks[0].name!r}: it costs time and brings nothing. Use balancer='equal'.",
                    stacklevel=3,
                )
        check_replicas(self, found, on_nonfinite)
        # All state is made here, under the strategy of the model's own, and not at the first `fit`, so that a model can
        # be saved and loaded before it.
        with self.distribute_strategy.scope():
            parts = engine.partition(self, self.output)
            for part in found:
                check_sharing(parts, part)
                check_call(self, MultiTaskModel, part, on_nonfinite)
            names, weights = [task.name for task in self.tasks], [task.weight for task in self.tasks]
            bind_pair(loss_balancer, gradient_balancer, names, weights, list(losses.values()), parts.num_gradients)
            super().compile(optimizer=optimizer, loss=None, **kwargs)
            self._balancers.clear()
            self._balancers.extend(found)
            rows = [(task, one, kind is weighted) for kind in (plain, weighted) for task in kind for one in kind[task]]
            self._metrics_of_tasks.clear()
            self._metrics_of_tasks.extend(metric for _, metric, _ in rows)
            self._fault_counters.clear()
            if on_nonfinite is not None:
                self._fault_counters.append(TaskSums([f"{name}_skipped" for name in names], name="skipped"))
        # Proxies, which Keras does not track: what is in them is tracked elsewhere.
        self._partition = MappingProxyType({"partition": parts})
        self._metric_rows = MappingProxyType({"rows": rows})
        self.loss, self.on_nonfinite = losses, on_nonfinite
        self.task_losses = engine.TaskLosses(losses)
        engine.build_metrics(self)
        self._compile_arguments = MappingProxyType(
            {
                "loss": loss,
                "metrics": metrics,
                "weighted_metrics": weighted_metrics,
                "on_nonfinite": on_nonfinite,
                **kwargs,
            }
        )

    def _optimize(self, variables: Sequence[Any]) -> None:
        """Builds the optimizer over the variables that it may ever update."""
        with self.distribute_strategy.scope():
            bind_to_model(self.optimizer, self)
            engine.build_optimizer(self.optimizer, variables)
        self._optimized = MappingProxyType({"variables": variables})  # a proxy, as above
        engine.check_agreement(self)

    @property
    def loss_balancer(self) -> LossBalancer:
        """The balancer of the losses; `Equal`, as a rule, where only a gradient balancer was asked for."""
        return self._balancers[0]

    @property
    def gradient_balancer(self) -> DirectionBalancer | None:
        """The balancer of the gradients, or None."""
        return self._balancers[1] if len(self._balancers) > 1 else None

    @property
    def fault_counter(self) -> TaskSums | None:
        """In how many steps each task was left out, or None where `on_nonfinite` is."""
        return self._fault_counters[0] if self._fault_counters else None

    @property
    def losses(self) -> list[Any]:
        """Losses beside those of the tasks: Keras' own, and what a layer with a method `loss_of(model)` finds in it."""
        found = [layer.loss_of(self) for layer in self.layers if hasattr(layer, "loss_of")]
        return [*super().losses, *found]

    @property
    def optimized_variables(self) -> list[Any]:
        """What was trainable when the model was compiled: what may be frozen and released while it is trained."""
        return list(self._optimized["variables"]) if self.compiled else []

    @property
    def partition(self) -> engine.Partition:
        """Which trainable variables are shared, and which belong to one task: read off the graph.

        It is that of `compile`, or of `make_train_function(force=True)` since.
        """
        return self._partition["partition"] if self.compiled else engine.partition(self, self.output)

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
        prepare_for_fit(self, bound.arguments, balancing_data)
        self.forget_observers()  # of a `fit` that was broken off
        with engine.as_value_error(self.tasks), own_function_back(self):
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

    @property
    def task_metrics(self) -> list[tuple[str, keras.metrics.Metric, bool]]:
        """The metrics of the tasks: the task, the metric, and whether it counts sample weights."""
        return self._metric_rows["rows"] if self.compiled else []

    @property
    def metrics_names(self) -> list[str]:
        """What stands where in the list of `evaluate` without `return_dict`: the loss, and the rest by the alphabet."""
        skipped = () if self.fault_counter is None else self.fault_counter.names
        found = self.get_metrics_result()
        return ["loss", *sorted(name for name in found if name != "loss" and name not in skipped)]

    def get_metrics_result(self) -> dict[str, Any]:
        """The logs so far: the metrics of tasks bear the names of these."""
        return logs_of(self.metrics, self.task_metrics)
