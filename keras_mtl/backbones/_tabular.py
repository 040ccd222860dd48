"""Rows of a table: numeric and categorical columns by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from keras_mtl._checks import check_integer, check_integers, check_number, check_same_names
from keras_mtl.backbones._base import Backbone, registry


@registry.register("tabular")
class Tabular(Backbone):
    """Rows of a table: numbers are normalized, categories embedded, and dense layers with ReLU read both.

    A dict of columns goes in, `{"age": (batch, 1), "job": (batch, 1), ...}` or `(batch,)` each, as they stand in the
    table: numbers as numbers, categories as strings or integers. What `adapt` has found in the training table is part
    of the model, and is saved and exported with it. A category that was not in that table has an embedding of its own,
    which all such values share.

    Its layers are those that `keras.utils.FeatureSpace` makes of such columns, with what they have learnt given as
    arguments, so that a backbone holds arguments only, and each `build` makes the same.

    Args:
        numeric: the names of the numeric columns. Defaults to none.
        categorical: the names of the categorical columns. Defaults to none.
        statistics: the mean and the variance of each numeric column, by name. Defaults to None: call `adapt`.
        vocabularies: the values of each categorical column, by name: strings, or integers. Defaults to None: call
            `adapt`.
        embedding_dim: numbers of the vector of a category. Defaults to 16.
        units: units of each dense layer, from the input on; `()` hands the row on as it is, to experts as a rule.
            Defaults to `(128, 64)`.
        dropout: share of units dropped behind each dense layer in training, 0 <= dropout < 1. Defaults to 0.

    Raises:
        ValueError: if an argument is out of range, there is no column, or a name is there twice. From `build`: without
            what `adapt` finds.

    Example:

    >>> from keras_mtl import backbones
    >>> table = {"age": [25, 41, 33], "job": ["nurse", "baker", "nurse"]}
    >>> tabular = backbones.Tabular(numeric=["age"], categorical=["job"], units=(8,)).adapt(table)
    >>> tabular.vocabularies
    {'job': ['baker', 'nurse']}
    >>> tabular.build().output_shape
    (None, 8)
    """

    def __init__(
        self,
        numeric: Sequence[str] = (),
        categorical: Sequence[str] = (),
        *,
        statistics: Mapping[str, Sequence[float]] | None = None,
        vocabularies: Mapping[str, Sequence[Any]] | None = None,
        embedding_dim: int = 16,
        units: Sequence[int] = (128, 64),
        dropout: float = 0.0,
    ) -> None:
        self.numeric = _check_columns(numeric, "numeric")
        self.categorical = _check_columns(categorical, "categorical")
        columns = [*self.numeric, *self.categorical]
        if not columns or len(set(columns)) < len(columns):
            raise ValueError(
                "Parameters `numeric` and `categorical` should name one column or more, each once. Received: "
                f"numeric={numeric!r}, categorical={categorical!r}"
            )
        self.statistics = None if statistics is None else _check_statistics(statistics, self.numeric)
        self.vocabularies = None if vocabularies is None else _check_vocabularies(vocabularies, self.categorical)
        self.embedding_dim = check_integer(embedding_dim, "embedding_dim")
        self.units = check_integers(units, "units")
        self.dropout = check_number(dropout, "dropout", below=1.0)

    def adapt(self, table: Any) -> Tabular:
        """Takes means, variances and categories from a table: the training table, and no other.

        Args:
            table: a mapping from column names to arrays, or a data frame. Other columns are passed over.

        Returns:
            The backbone itself.

        Raises:
            ValueError: if a column is absent, a numeric one has something else than finite numbers, or a categorical
                one something else than strings only or integers only.
        """
        for name in (*self.numeric, *self.categorical):
            if name not in table:
                raise ValueError(
                    f"Parameter `table` should have the columns {[*self.numeric, *self.categorical]}. Received: "
                    f"columns {[str(column) for column in table]}"
                )
        statistics = {name: _statistics_of(table[name], name) for name in self.numeric}
        vocabularies = {name: _values_of(table[name], name) for name in self.categorical}
        self.statistics = _check_statistics(statistics, self.numeric)
        self.vocabularies = _check_vocabularies(vocabularies, self.categorical)
        return self

    def build(self) -> keras.Model:
        """A new model from a dict of columns `(batch, 1)` to vectors `(batch, units[-1])`."""
        if (self.numeric and self.statistics is None) or (self.categorical and self.vocabularies is None):
            raise ValueError(
                "A `Tabular` backbone needs the statistics of its numeric columns and the values of its categorical "
                f"ones. Received: statistics={self.statistics}, vocabularies={self.vocabularies}. Call `adapt` with "
                "the training table, or give them."
            )
        inputs: dict[str, Any] = {}
        parts = []
        if self.numeric and self.statistics:
            numbers = [keras.Input((1,), name=name) for name in self.numeric]
            inputs.update(zip(self.numeric, numbers, strict=True))
            x = keras.layers.Concatenate(name="numbers")(numbers) if len(numbers) > 1 else numbers[0]
            mean, variance = zip(*(self.statistics[name] for name in self.numeric), strict=True)
            parts.append(keras.layers.Normalization(mean=mean, variance=variance, name="normalized_numbers")(x))
        for name in self.categorical:
            inputs[name], vector = self._embedded(name, (self.vocabularies or {})[name])
            parts.append(vector)
        x = keras.layers.Concatenate(name="row")(parts) if len(parts) > 1 else parts[0]
        for index, units in enumerate(self.units):
            x = keras.layers.Dense(units, activation="relu", name=f"dense_{index}")(x)
            if self.dropout:
                x = keras.layers.Dropout(self.dropout, name=f"dropout_{index}")(x)
        return keras.Model(inputs, x, name="tabular")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`, with what `adapt` has found."""
        return {
            "numeric": list(self.numeric),
            "categorical": list(self.categorical),
            "statistics": self.statistics,
            "vocabularies": self.vocabularies,
            "embedding_dim": self.embedding_dim,
            "units": list(self.units),
            "dropout": self.dropout,
        }

    def _embedded(self, name: str, vocabulary: Sequence[Any]) -> tuple[Any, Any]:
        """The input of a categorical column, and its vectors."""
        is_text = isinstance(vocabulary[0], str)
        lookup = keras.layers.StringLookup if is_text else keras.layers.IntegerLookup
        # Keras takes a category that is its token for unknown ones, "[UNK]" or -1, for unknown itself.
        token: Any = "[UNK]" if is_text else -1
        while token in vocabulary:
            token = f"[{token}]" if is_text else token - 1
        column = keras.Input((1,), dtype="string" if is_text else "int64", name=name)
        index = lookup(vocabulary=list(vocabulary), num_oov_indices=1, oov_token=token, name=f"{name}_index")(column)
        x = keras.layers.Embedding(len(vocabulary) + 1, self.embedding_dim, name=f"{name}_embedding")(index)
        return column, keras.layers.Flatten(name=f"{name}_vector")(x)


def _check_columns(value: Any, parameter: str) -> tuple[str, ...]:
    is_sequence = isinstance(value, Sequence) and not isinstance(value, (str, bytes))
    if not is_sequence or not all(isinstance(name, str) and name and "/" not in name for name in value):
        raise ValueError(
            f"Parameter `{parameter}` should be a list of names of columns, without '/'. Received: "
            f"{parameter}={value!r}"
        )
    return tuple(value)


def _check_statistics(value: Any, numeric: Sequence[str]) -> dict[str, list[float]]:
    check_same_names(value, numeric, what="columns of `statistics`", mend="Give each column of `numeric` a pair.")
    for name, pair in value.items():
        numbers = np.asarray(pair, dtype="float64")
        if numbers.shape != (2,) or not np.isfinite(numbers).all() or numbers[1] < 0:
            raise ValueError(
                "Parameter `statistics` should have a finite mean and a variance of at least 0 for each column. "
                f"Received: statistics[{name!r}]={pair!r}"
            )
    return {name: [float(number) for number in value[name]] for name in numeric}


def _check_vocabularies(value: Any, categorical: Sequence[str]) -> dict[str, list[Any]]:
    check_same_names(
        value, categorical, what="columns of `vocabularies`", mend="Give each column of `categorical` its values."
    )
    return {name: _values_of(value[name], name) for name in categorical}


def _statistics_of(values: Any, name: str) -> list[float]:
    try:
        numbers = np.asarray(values, dtype="float64")
    except (TypeError, ValueError):
        numbers = np.full(1, np.nan)
    if not numbers.size or not np.isfinite(numbers).all():
        raise ValueError(
            f"The numeric column {name!r} should have finite numbers. Received: {values!r:.200}. Fill in missing "
            "numbers, or name it as `categorical`."
        )
    return [float(numbers.mean()), float(numbers.var())]


def _values_of(values: Any, name: str) -> list[Any]:
    """The different values of a categorical column, sorted."""
    # As objects, since NumPy makes strings of integers that stand beside strings.
    cells = np.asarray(values, dtype=object).flat
    found = [cell.item() if isinstance(cell, np.generic) else cell for cell in cells]
    is_integer = all(isinstance(value, int) and not isinstance(value, bool) for value in found)
    if not found or not (is_integer or all(isinstance(value, str) for value in found)):
        raise ValueError(
            f"The categorical column {name!r} should have strings only or integers only. Received: {values!r:.200}. "
            "Give missing values a category of their own."
        )
    return sorted(set(found))
