"""The entire-space model: what follows a click is predicted over all examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from keras_mtl._source import Source
from keras_mtl.sharing._base import Sharing, registry
from keras_mtl.tasks import BinaryClassification, Task


@registry.register("esmm")
class ESMM(Sharing):
    """The entire-space multi-task model: the probability of a conversion is P(click) times P(conversion | click).

    A conversion, such as a purchase, can only follow a click. Its probability after a click, learnt from clicked
    examples alone, is biased by which ones were clicked. Here both factors are learnt from all examples: the head of
    the task `conversion` gives the conditional probability, and the output of the task is the product with that of
    `click`. So a label of `conversion` is 1 where there was a click and a conversion, and 0 elsewhere, unclicked
    examples included. All other tasks keep what `base` predicts.

    Source: X. Ma, L. Zhao, G. Huang, Z. Wang, Z. Hu, X. Zhu, K. Gai, "Entire Space Multi-Task Model: An Effective
    Approach for Estimating Post-Click Conversion Rate", SIGIR 2018, equations 1 and 3. There the two towers share
    embeddings alone; here they share what `base` shares, and the towers are the heads: give the tasks `hidden_units`.
    The conditional probability, which the paper is after, is the output of the layer that bears the task's name.

    The head of `click` leads to both outputs and counts as shared; that of `conversion` belongs to its task alone.

    Args:
        click: the name of the task of what comes first, a `BinaryClassification`. Defaults to None: the first of
            that kind other than `conversion`.
        conversion: the name of the task of what may follow, a `BinaryClassification`. Defaults to None: the first of
            that kind other than `click`.
        base: the sharing that gives features and heads: a name, an instance or a config. Defaults to `"hard"`.

    Raises:
        ValueError: if both names are the same, there are not two tasks of that kind, or a name is none of theirs.

    Example:

    >>> import keras, keras_mtl as mtl
    >>> tasks = [mtl.tasks.BinaryClassification("click"), mtl.tasks.BinaryClassification("bought")]
    >>> model = mtl.build_model("mlp", tasks, "esmm", input_shape=(8,))
    >>> after_a_click = keras.Model(model.input, model.get_layer("bought").output)
    >>> after_a_click.output_shape
    (None, 1)
    """

    source = Source(
        "Ma et al.",
        "Entire Space Multi-Task Model: An Effective Approach for Estimating Post-Click Conversion Rate",
        "SIGIR",
        2018,
        "1804.07931",
    )

    def __init__(self, click: str | None = None, conversion: str | None = None, base: Any = "hard") -> None:
        for parameter, value in (("click", click), ("conversion", conversion)):
            if value is not None and not isinstance(value, str):
                raise ValueError(
                    f"Parameter `{parameter}` should be the name of a task. Received: {parameter}={value!r}"
                )
        if click is not None and click == conversion:
            raise ValueError(f"Parameters `click` and `conversion` should name two tasks. Received: {click!r} for both")
        self.click = click
        self.conversion = conversion
        self.base = registry.get(base)

    def __call__(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The features of each task: those of `base`."""
        return self.base(features, tasks)

    def outputs(self, features: Mapping[str, Any], tasks: Sequence[Task]) -> dict[str, Any]:
        """The predictions by `base`, but that of `conversion` times that of `click`."""
        click, conversion = self._pair(tasks)
        predictions = self.base.outputs(features, tasks)
        # In float32 under mixed precision too, as the factors are.
        product = keras.layers.Multiply(dtype="float32", name=f"{conversion}_and_{click}")
        return {**predictions, conversion: product([predictions[click], predictions[conversion]])}

    def _pair(self, tasks: Sequence[Task]) -> tuple[str, str]:
        """The names of the two tasks."""
        binary = [task.name for task in tasks if isinstance(task, BinaryClassification)]
        for parameter, name in (("click", self.click), ("conversion", self.conversion)):
            if name is not None and name not in binary:
                raise ValueError(
                    f"Parameter `{parameter}` should name a `BinaryClassification`, of which there are {binary}. "
                    f"Received: {parameter}={name!r} and the tasks {list(tasks)}"
                )
        if len(binary) < 2:
            raise ValueError(
                "The architecture `esmm` needs two tasks of the kind `BinaryClassification`, for a click and for what "
                f"may follow it. Received: the tasks {list(tasks)}"
            )
        click = self.click or next(name for name in binary if name != self.conversion)
        return click, self.conversion or next(name for name in binary if name != click)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {
            **super().get_config(),
            "click": self.click,
            "conversion": self.conversion,
            "base": keras.saving.serialize_keras_object(self.base),
        }
