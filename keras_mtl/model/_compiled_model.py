"""What `compile` makes of a model, before any training: balancers, metrics, and all their state."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import keras

from keras_mtl import engine
from keras_mtl.balancers import DirectionBalancer, LossBalancer, bind_pair, get_pair
from keras_mtl.model._arguments import (
    check_call,
    check_on_nonfinite,
    check_replicas,
    check_sharing,
    check_strategy,
    losses_by_task,
    metrics_by_task,
)
from keras_mtl.model._logs import logs_of
from keras_mtl.model._stepped_model import SteppedModel
from keras_mtl.model._trackers import TaskMeans, TaskSums
from keras_mtl.optimizers import bind_to_model


class CompiledModel(SteppedModel):
    """A model with tasks, and what `compile` found or made for it."""

    output: dict[str, Any]

    def _set_tasks(self, tasks: Sequence[Any]) -> None:
        """Takes the tasks, and makes room for what `compile` makes."""
        self.tasks = tasks
        self.task_loss_tracker = TaskMeans([f"{task.name}_loss" for task in tasks], name="task_losses")
        # Tracked lists, emptied and filled by `compile`: an attribute that is set anew would leave the variables of
        # the balancer before among the model's.
        self._balancers: list[Any] = []
        self._metrics_of_tasks: list[keras.metrics.Metric] = []
        self._fault_counters: list[TaskSums] = []
        self.on_nonfinite: str | None = None

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
            parts = self.partitioned()
            for part in found:
                check_sharing(parts, part)
                check_call(self, CompiledModel, part, on_nonfinite)
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
    def optimized_variables(self) -> list[Any]:
        """What was trainable when the model was compiled: what may be frozen and released while it is trained."""
        return list(self._optimized["variables"]) if self.compiled else []

    @property
    def partition(self) -> engine.Partition:
        """Which trainable variables are shared, and which belong to one task: read off the graph.

        It is that of `compile`, or of `make_train_function(force=True)` since.
        """
        return self._partition["partition"] if self.compiled else self.partitioned()

    def partitioned(self) -> engine.Partition:
        """The partition anew, by what is trainable now."""
        return engine.partition(self, self.output, self._balancers)

    @property
    def losses(self) -> list[Any]:
        """Losses beside those of the tasks: Keras' own, and what a layer with a method `loss_of(model)` finds in it."""
        found = [layer.loss_of(self) for layer in self.layers if hasattr(layer, "loss_of")]
        return [*super().losses, *found]

    @property
    def task_metrics(self) -> list[tuple[str, keras.metrics.Metric, bool]]:
        """The metrics of the tasks: the task, the metric, and whether it counts sample weights."""
        return self._metric_rows["rows"] if self.compiled else []

    @property
    def metrics_names(self) -> list[str]:
        """What stands where in the lists of `evaluate` and `train_on_batch`.

        First the losses, then the rest by the alphabet. The counts of steps that leave a task out are last: evaluation
        has none.
        """
        return self._in_order(self.get_metrics_result())

    def _in_order(self, names: Collection[str]) -> list[str]:
        first = ["loss", *self.task_loss_tracker.names]
        last = [] if self.fault_counter is None else self.fault_counter.names
        rest = sorted(set(names) - {*first, *last})
        return [name for name in (*first, *rest, *last) if name in names]

    def _flatten_metrics_in_order(self, logs: dict[str, Any]) -> Any:
        # Private: Keras goes by the names of the metrics, and here one has the losses of all tasks.
        # tests/unit/model/test_trackers.py would notice if it were called otherwise.
        found = [logs[name] for name in self._in_order(logs)]
        return found[0] if len(found) == 1 else found

    def get_metrics_result(self) -> dict[str, Any]:
        """The logs so far: the metrics of tasks bear the names of these."""
        return logs_of(self.metrics, self.task_metrics)
