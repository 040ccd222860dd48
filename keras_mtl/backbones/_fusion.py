"""Several named inputs, each with a backbone of its own, fused to one vector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from keras_mtl._checks import check_integer, check_name, check_one_of
from keras_mtl.backbones._base import Backbone, registry
from keras_mtl.backbones._get import get
from keras_mtl.backbones._splice import renamed

_POOLING = {
    3: keras.layers.GlobalAveragePooling1D,
    4: keras.layers.GlobalAveragePooling2D,
    5: keras.layers.GlobalAveragePooling3D,
}


@registry.register("fusion")
class Fusion(Backbone):
    """Several inputs of an example, such as an image and its text: a backbone for each, whose vectors become one.

    A dict goes in: what a member takes under the name of the member, and where that is a dict itself, as of a
    `Tabular`, each of its columns under the column's own name. Features that are maps are averaged. The layers of a
    member bear its name in front of their own.

    Late fusion by `"concatenate"` sets the vectors side by side. Under `"gated"` each member's vector goes through a
    dense layer with the hyperbolic tangent, and the example's own weights, a softmax over all vectors together, mix
    the results, as in J. Arevalo et al., "Gated Multimodal Units for Information Fusion", ICLR Workshop 2017. Differs
    from it in that a member has one weight for all units.

    Args:
        members: two backbones or more, by the names of their inputs: instances, configs, or names of backbones that
            need no argument, which are architectures of `keras.applications`.
        method: `"concatenate"` or `"gated"`. Defaults to `"concatenate"`.
        units: units of the fused vector: of the gated ones, 128 by default, or of a dense layer with ReLU over the
            concatenated vectors, by default none.

    Raises:
        ValueError: if an argument is out of range, or there are fewer than two members. From `build`: if two inputs
            have the same name.

    Example:

    >>> from keras_mtl import backbones
    >>> image, text = backbones.Convolutional((8, 8, 1), filters=(4, 6)), backbones.Text(["good", "bad"], filters=5)
    >>> model = backbones.Fusion({"image": image, "review": text}).build()
    >>> {name: tensor.shape for name, tensor in model.input.items()}, model.output_shape
    ({'image': (None, 8, 8, 1), 'review': (None,)}, (None, 21))
    """

    def __init__(self, members: Mapping[str, Any], method: str = "concatenate", units: int | None = None) -> None:
        if not isinstance(members, Mapping) or len(members) < 2:
            raise ValueError(
                f"Parameter `members` should be a dict of two backbones or more by name. Received: members={members!r}"
            )
        self.members = {check_name(name, "members"): get(member) for name, member in members.items()}
        self.method = check_one_of(method, "method", ("concatenate", "gated"))
        self.units = None if units is None else check_integer(units, "units")

    def build(self) -> keras.Model:
        """A new model from a dict of inputs to vectors `(batch, channels)`."""
        inputs: dict[str, Any] = {}
        vectors = {}
        for name, member in self.members.items():
            model = member.build()
            own = _inputs_of(model, name)
            taken = sorted(inputs.keys() & own.keys())
            if taken:
                raise ValueError(
                    f"Inputs of a `Fusion` should have different names. Received: {taken} twice. Rename the member or "
                    "the column."
                )
            inputs.update(own)
            before = {tensor.name: new for tensor, new in zip(model.inputs, own.values(), strict=True)}
            x = renamed(model, name, before)
            vectors[name] = _POOLING[len(x.shape)](name=f"fusion_{name}_pool")(x) if len(x.shape) > 2 else x
        fused = keras.layers.Concatenate(name="fusion_concatenated")(list(vectors.values()))
        if self.method == "gated":
            fused = self._gated(vectors, fused)
        elif self.units is not None:
            fused = keras.layers.Dense(self.units, activation="relu", name="fusion_dense")(fused)
        return keras.Model(inputs, fused, name="fusion")

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        members = {name: keras.saving.serialize_keras_object(member) for name, member in self.members.items()}
        return {"members": members, "method": self.method, "units": self.units}

    def _gated(self, vectors: Mapping[str, Any], together: Any) -> Any:
        units = self.units or 128
        hidden = [
            keras.layers.Reshape((1, units), name=f"fusion_{name}_row")(
                keras.layers.Dense(units, activation="tanh", name=f"fusion_{name}_projection")(vector)
            )
            for name, vector in vectors.items()
        ]
        rows = keras.layers.Concatenate(axis=1, name="fusion_rows")(hidden)  # [batch, num_members, units]
        gates = keras.layers.Dense(len(vectors), activation="softmax", name="fusion_gates")(together)
        return keras.layers.Dot(axes=1, name="fusion_gated")([gates, rows])


def _inputs_of(model: keras.Model, name: str) -> dict[str, Any]:
    """Fresh inputs like those of a model, by name, in the order of `model.inputs`."""
    if isinstance(model.input, Mapping):
        keys = {id(tensor): key for key, tensor in model.input.items()}
        names = [keys[id(tensor)] for tensor in model.inputs]
    else:
        names = [name]
    return {
        key: keras.Input(tensor.shape[1:], dtype=tensor.dtype, name=key)
        for key, tensor in zip(names, model.inputs, strict=True)
    }
