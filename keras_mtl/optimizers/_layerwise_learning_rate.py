"""Another learning rate for each layer, around any Keras optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._checks import check_number
from keras_mtl._layers import layers_by_path, levels, matched
from keras_mtl._registry import serializable
from keras_mtl.optimizers._inner import Scaled, check_inner, path_in_model, signatures


@serializable
class LayerwiseLearningRate(keras.optimizers.Optimizer):
    """Multiplies the learning rate of a Keras optimizer by a number for each layer.

    Use it to fine-tune a pretrained backbone: its first layers, which are general, move less than its last ones, and
    those less than the new heads. What is multiplied is the learning rate with which a variable is updated and its
    weights decay, and not its gradient, so that it does what it says under Adam too, which is blind to the scale of
    gradients. With a multiplier of 0 a weight stays as it is, to the bit, and so do its moments; but Keras applies a
    constraint of its layer, sets it, with `use_ema`, to an average that is rounded, and has the moving statistics of a
    batch normalization follow the data. `transfer.freeze` leaves them all.

    Sources: J. Howard and S. Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, for
    discriminative learning rates; K. Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than
    Generators", ICLR 2020, for their decay by depth. There a level is a layer of a transformer; here it is a block:
    layers whose names begin alike up to a `block` with its number, as in `keras.applications`, or a layer with the
    normalizations that follow it. Heads are levels like others, the last layers being level 0.

    A pattern is one of `fnmatch`. It means the variables on whose path it matches a name: that of a layer, of a model
    or layer that contains it, or their own, such as `"bias"`; with a `/`, names that follow each other, as in
    `"encoder/conv_*"`. Of several patterns that match, the last counts, and all count more than the decay.

    `MultiTaskModel.compile` tells it the layers of the model. With another `keras.Model`, call `bind` before `compile`;
    without, patterns are matched with the `path` of the variables, which may lack the names of nested models.

    Args:
        inner_optimizer: a new Keras optimizer, its name or its config. It is the wrapper's from then on. A
            `LossScaleOptimizer` goes around the wrapper; `compile` does so for float16. `Adafactor` and `Ftrl` will not
            do: a tenth of their learning rate is not a tenth of their step.
        multipliers: numbers of at least 0 by pattern. Defaults to none.
        decay: above 0 and at most 1: a layer at level `n` from the outputs has the multiplier `decay ** n`. Defaults to
            None, no decay.
        name: the name of the optimizer.

    Raises:
        ValueError: if an argument is out of range, the optimizer does not update variables one by one, was built or
            wrapped before, or has a step that is no multiple of its learning rate; or, when it meets the model, a
            pattern matches nothing.

    Example:

    >>> import keras_mtl as mtl
    >>> tasks = [mtl.tasks.Classification("breed", 37), mtl.tasks.BinaryClassification("is_cat")]
    >>> model = mtl.build_model("MobileNetV2", tasks, input_shape=(32, 32, 3))
    >>> model.compile(mtl.optimizers.LayerwiseLearningRate("adamw", {"Conv1": 0.0}, decay=0.8))
    >>> multipliers = model.optimizer.multiplier_by_path
    >>> multipliers["breed_logits/kernel"], multipliers["Conv_1/kernel"], multipliers["Conv1/kernel"]
    (1.0, 0.8, 0.0)
    """

    def __init__(
        self,
        inner_optimizer: Any,
        multipliers: Mapping[str, float] | None = None,
        *,
        decay: float | None = None,
        name: str | None = None,
    ) -> None:
        inner = keras.optimizers.get(inner_optimizer)
        check_inner(inner)
        if multipliers is not None and not isinstance(multipliers, Mapping):
            raise ValueError(
                f"Parameter `multipliers` should be a dict of numbers by pattern. Received: multipliers={multipliers!r}"
            )
        found = {
            pattern: check_number(value, f"multipliers[{pattern!r}]") for pattern, value in (multipliers or {}).items()
        }
        if decay is not None and not 0 < check_number(decay, "decay") <= 1:
            raise ValueError(f"Parameter `decay` should be above 0 and at most 1. Received: decay={decay!r}")
        super().__init__(learning_rate=0.0, name=name)  # its own, of no use: see the property
        self.inner_optimizer = inner
        self.multipliers = found
        self.decay = decay
        self.multiplier_by_path: dict[str, float] = {}
        self._by_variable: dict[int, float] = {}
        self._by_position: tuple[float, ...] = ()
        self._signatures: tuple[str, ...] = ()
        self._update, self._decay_weights = inner.update_step, inner._apply_weight_decay
        inner.update_step = self.update_step
        # Private: weights decay with the learning rate, apart from `update_step`, and Keras has no public place to say
        # at which. tests/unit/optimizers/test_layerwise_learning_rate.py would notice its change.
        inner._apply_weight_decay = self._apply_weight_decay

    def bind(self, model: keras.Model) -> None:
        """Finds the multiplier of each variable of a Functional or Sequential model, before the optimizer is built.

        Args:
            model: the model that is to be trained. `MultiTaskModel.compile` calls this by itself.

        Raises:
            ValueError: if a pattern matches nothing.
        """
        rows = []  # the variable, its path in the model, the level of its layer
        level_of = levels(model) if self.decay is not None else {}
        for path, layer in layers_by_path(model).items():
            for variable in layer.weights:
                rows.append((variable, path_in_model(path, layer, variable), level_of.get(id(layer), 0)))
        of_layers = {id(variable) for variable, _, _ in rows}
        rows += [(each, each.path, 0) for each in model.trainable_variables if id(each) not in of_layers]
        found = self._found([path for _, path, _ in rows], [level for _, _, level in rows])
        self._by_variable = {id(row[0]): multiplier for row, multiplier in zip(rows, found, strict=True)}
        self.multiplier_by_path = {row[1]: multiplier for row, multiplier in zip(rows, found, strict=True)}

    def _found(self, paths: Sequence[str], level: Sequence[int]) -> list[float]:
        """The multiplier for each path."""
        found = [1.0 if self.decay is None else self.decay**number for number in level]
        for pattern, multiplier in self.multipliers.items():
            meant = set(matched(pattern, paths, "multipliers"))
            found = [multiplier if path in meant else before for path, before in zip(paths, found, strict=True)]
        return found

    def build(self, variables: Sequence[Any]) -> None:
        """Creates the state of the inner optimizer.

        Args:
            variables: those that are to be trained.
        """
        if self.built:
            return
        variables = list(variables)
        self._by_position = self._of(variables)
        self._signatures = signatures(variables)
        self.inner_optimizer.build(variables)
        super().build(variables)

    def _of(self, variables: Sequence[Any]) -> tuple[float, ...]:
        """The multiplier of each variable."""
        if self._by_variable:
            unknown = [variable.path for variable in variables if id(variable) not in self._by_variable]
            if unknown:
                raise ValueError(
                    "The optimizer should be built over variables of the model that it is bound to. Received: another "
                    f"model's, {unknown[:3]}. Call `bind` with that one."
                )
            return tuple(self._by_variable[id(variable)] for variable in variables)
        if self._by_position and self._signatures == signatures(variables):  # of a file
            return self._by_position
        if self.decay is not None:
            raise ValueError(
                "The decay by depth needs to know the model. Received: variables alone. Call `bind(model)` before "
                "`compile`; `MultiTaskModel.compile` does so by itself."
            )
        paths = [variable.path for variable in variables]
        found = self._found(paths, [0] * len(paths))
        self.multiplier_by_path = dict(zip(paths, found, strict=True))
        return tuple(found)

    def _multiplier(self, variable: Any) -> float:
        # Private, and what Keras' documentation of `Optimizer` uses in an `update_step`, which is given a replica's
        # part of a variable under a strategy.
        return self._by_position[self.inner_optimizer._get_variable_index(variable)]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates one variable: the inner optimizer calls it in place of its own, which is called from here.

        Args:
            gradient: of the variable.
            variable: a variable of the model.
            learning_rate: of all.
        """
        multiplier = self._multiplier(variable)
        if multiplier == 1:
            self._update(gradient, variable, learning_rate)
        elif multiplier > 0:
            self._update(gradient, variable, learning_rate * multiplier)

    def _apply_weight_decay(self, variables: Sequence[Any]) -> None:
        by_multiplier: dict[float, list[Any]] = {}
        for variable in variables:
            by_multiplier.setdefault(self._multiplier(variable), []).append(variable)
        for multiplier, group in by_multiplier.items():
            if multiplier == 1:
                self._decay_weights(group)
            elif multiplier > 0:
                scaled: Any = Scaled(self.inner_optimizer, multiplier)
                type(self.inner_optimizer)._apply_weight_decay(scaled, group)

    def apply(self, grads: Sequence[Any], trainable_variables: Sequence[Any] | None = None) -> None:
        """Updates the variables.

        Args:
            grads: a gradient, or None, for each.
            trainable_variables: the variables. Defaults to those that it was built over.
        """
        if trainable_variables is not None:
            trainable_variables = list(trainable_variables)
            if not self.built:
                self.build(trainable_variables)
        self.inner_optimizer.apply(grads, trainable_variables)

    @property
    def variables(self) -> list[Any]:
        """The state of the inner optimizer."""
        return self.inner_optimizer.variables

    @property
    def iterations(self) -> Any:
        """The number of updates."""
        return self.inner_optimizer.iterations

    @property
    def learning_rate(self) -> Any:
        """The learning rate that is multiplied: the inner optimizer's, which it sets as well."""
        return self.inner_optimizer.learning_rate

    @learning_rate.setter
    def learning_rate(self, learning_rate: Any) -> None:
        self.inner_optimizer.learning_rate = learning_rate

    @property
    def loss_scale_factor(self) -> float | None:
        """The inner optimizer's: a `LossScaleOptimizer` around the wrapper sets it to None."""
        return self.inner_optimizer.loss_scale_factor

    @loss_scale_factor.setter
    def loss_scale_factor(self, value: float | None) -> None:
        if hasattr(self, "inner_optimizer"):  # not while Keras' own `__init__` runs
            self.inner_optimizer.loss_scale_factor = value

    def finalize_variable_values(self, var_list: Sequence[Any]) -> None:
        """What the inner optimizer does at the end of training."""
        self.inner_optimizer.finalize_variable_values(var_list)

    def exclude_from_weight_decay(self, var_list: Any = None, var_names: Any = None) -> None:
        """Excludes variables from the inner optimizer's weight decay, before it is built.

        Args:
            var_list: variables.
            var_names: parts of the names of variables.
        """
        self.inner_optimizer.exclude_from_weight_decay(var_list, var_names)

    def set_weights(self, weights: Sequence[Any]) -> None:
        """Sets the state of the inner optimizer.

        Args:
            weights: a value for each of `variables`.
        """
        self.inner_optimizer.set_weights(weights)

    def save_own_variables(self, store: Any) -> None:
        """Saves nothing: Keras saves the inner optimizer for itself."""

    def load_own_variables(self, store: Any) -> None:
        """Loads nothing, as nothing was saved."""

    def get_config(self) -> dict[str, Any]:
        """The arguments, and the multipliers that were found for a model."""
        return {
            "inner_optimizer": keras.optimizers.serialize(self.inner_optimizer),
            "multipliers": dict(self.multipliers),
            "decay": self.decay,
            "name": self.name,
            "multiplier_by_position": list(self._by_position),
            "signature_by_position": list(self._signatures),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None) -> LayerwiseLearningRate:
        """An optimizer from what `get_config` returned."""
        config = dict(config)
        # Of a plain Keras model, which nobody tells the optimizer of when it is loaded, and whose paths may be others.
        known, their_signatures = config.pop("multiplier_by_position", ()), config.pop("signature_by_position", ())
        inner = keras.optimizers.deserialize(config.pop("inner_optimizer"), custom_objects=custom_objects)
        optimizer = cls(inner, **config)
        optimizer._by_position, optimizer._signatures = tuple(known), tuple(their_signatures)
        return optimizer


def bind_to_model(optimizer: Any, model: keras.Model) -> None:
    """Tells an optimizer, or one within it, the layers of a model, if it is one that wants to know.

    Args:
        optimizer: any Keras optimizer.
        model: the model that it is to train.

    Example:

    >>> import keras
    >>> from keras_mtl import optimizers
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3, name="first"), keras.layers.Dense(1)])
    >>> optimizer = optimizers.LayerwiseLearningRate("sgd", decay=0.5)
    >>> optimizers.bind_to_model(keras.optimizers.LossScaleOptimizer(optimizer), model)
    >>> optimizer.multiplier_by_path["first/kernel"]
    0.5
    """
    while optimizer is not None:
        if isinstance(optimizer, LayerwiseLearningRate) and not optimizer.built:
            optimizer.bind(model)
        optimizer = getattr(optimizer, "inner_optimizer", None)
