"""What is done to the arguments of `fit` before Keras sees them."""

from __future__ import annotations

from typing import Any

import keras

from keras_mtl import engine
from keras_mtl.balancers import BilevelBalancer
from keras_mtl.model._epoch_end import EpochEnd
from keras_mtl.model._faults import RaiseOnFault
from keras_mtl.model._frozen import check_trained
from keras_mtl.model._resume import Resume, Track, resume_callbacks


def check_labels(model: Any, x: Any, y: Any, *, whole: bool = True) -> Any:
    """Checks the labels, and returns what is to be given to Keras as `x`. A batch is not the `whole` of the data."""
    return engine.checked(model.tasks, x, y, in_pipeline=not engine.checks_in_step(model), whole=whole)


def check_train_on_batch(model: Any, arguments: dict[str, Any]) -> None:
    """Raises a `ValueError` if a step on one batch cannot do what is asked for, and `fit` can."""
    check_trained(model)
    if isinstance(model.loss_balancer, BilevelBalancer):
        raise ValueError(
            f"The balancer `{type(model.loss_balancer).__name__}` needs a second stream of data in each step, which "
            "`train_on_batch` has no place for. Use `fit` with `balancing_data`."
        )
    if arguments.get("class_weight") is not None:
        raise ValueError(
            "Parameter `class_weight` goes with `fit`. Received: class_weight in `train_on_batch`. Give "
            "`sample_weight` here."
        )


def prepare_for_fit(model: Any, arguments: dict[str, Any], balancing_data: Any) -> None:
    """Checks the arguments of `fit`, and adds to them what the labels' weights and the loss balancer need.

    Args:
        model: a compiled multi-task model.
        arguments: the arguments of `keras.Model.fit` that were given, changed in place.
        balancing_data: the second stream, or None.
    """
    check_trained(model)
    source = arguments["x"]
    x, y = engine.strings_as_tensors(source), arguments["y"]
    arguments["x"] = check_labels(model, x, y)
    if y is None and not isinstance(x, keras.utils.PyDataset):
        # What `fit` does with data sets whose order is their own; asked to shuffle, its default, it warns.
        arguments.setdefault("shuffle", False)
    validation = arguments.get("validation_data")
    if isinstance(validation, (tuple, list)):
        validation = (engine.strings_as_tensors(validation[0]), *validation[1:])
        arguments["validation_data"] = validation
        check_labels(model, *validation[:2])
        if len(validation) == 3:
            weights = engine.complete_weights(model.tasks, validation[1], validation[2])
            arguments["validation_data"] = (*validation[:2], weights)
    elif validation is not None:
        arguments["validation_data"] = check_labels(model, validation, None)
    _add_weights(model, arguments)
    _add_second_stream(model, arguments, balancing_data)
    _set_callbacks(model, arguments, source)


def _add_weights(model: Any, arguments: dict[str, Any]) -> None:
    y, sample_weight = arguments["y"], arguments.get("sample_weight")
    class_weight = arguments.pop("class_weight", None)
    if class_weight is not None:
        if arguments.get("validation_split"):
            raise ValueError(
                "Parameters `class_weight` and `validation_split` do not go together: the validation data would be "
                "weighted too. Give `validation_data`."
            )
        arguments["x"], arguments["sample_weight"] = engine.with_class_weights(
            model.tasks, class_weight, arguments["x"], y, sample_weight
        )
    else:
        complete_weights(model, arguments)


def complete_weights(model: Any, arguments: dict[str, Any]) -> None:
    """Sample weights for all labels, where some are given: Keras insists on all or none."""
    y, sample_weight = arguments["y"], arguments.get("sample_weight")
    if y is not None and sample_weight is not None:
        arguments["sample_weight"] = engine.complete_weights(model.tasks, y, sample_weight)


def _add_second_stream(model: Any, arguments: dict[str, Any], stream: Any) -> None:
    name = type(model.loss_balancer).__name__
    if isinstance(model.loss_balancer, BilevelBalancer):
        checked = None if stream is None else check_labels(model, stream, None)
        arguments["x"] = engine.with_second_stream(arguments["x"], checked, name)
    elif stream is not None:
        raise ValueError(
            "Parameter `balancing_data` is for bilevel balancers, such as 'auto_lambda'. Received: one, with the "
            f"balancer `{name}`. Leave it out."
        )


def _set_callbacks(model: Any, arguments: dict[str, Any], source: Any) -> None:
    """Before the user's own, so that those that save the model save what they do, and one after them."""
    given: Any = arguments.get("callbacks") or []
    old = isinstance(given, keras.callbacks.CallbackList)
    # A list may have served an earlier `fit`, of another model too.
    users = given.callbacks if old else given if isinstance(given, (list, tuple)) else [given]
    users = [callback for callback in users if not isinstance(callback, (EpochEnd, RaiseOnFault, Resume, Track))]
    track, resume = resume_callbacks(model, arguments, source, users)
    balancer = model.loss_balancer
    own: list[keras.callbacks.Callback] = [RaiseOnFault()] if model.on_nonfinite == "raise" else []
    if balancer.needs_epoch_end:
        own.append(EpochEnd(balancer, [task.name for task in model.tasks]))
    all_of_them = [track, *own, *users, resume]
    if old:
        given.callbacks[:] = all_of_them
        given.set_model(model)
    else:
        arguments["callbacks"] = all_of_them
