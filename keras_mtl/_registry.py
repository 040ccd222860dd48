"""Classes that can be asked for by name, by config or by instance, as everywhere in Keras."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, cast

import keras

T = TypeVar("T")

serializable = keras.saving.register_keras_serializable("keras_mtl")


def unknown_name(kind: str, name: Any, known: Iterable[str]) -> ValueError:
    """The error for a name that nothing bears: the nearest names first, then all of them."""
    known = sorted(known)
    folded = {item.lower(): item for item in known}
    near = [folded[match] for match in difflib.get_close_matches(str(name).lower(), folded, n=3)]
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    return ValueError(f"Unknown {kind}: {name!r}.{hint} The known ones are: {', '.join(known)}.")


class Registry(Generic[T]):
    """The classes of one kind, by name.

    Args:
        kind: what the classes are, for messages: `"balancer"`.
        base: the class that all of them extend.
    """

    def __init__(self, kind: str, base: type) -> None:
        self._kind = kind
        self._base = base
        self._classes: dict[str, type[T]] = {}

    def register(self, name: str) -> Callable[[type[T]], type[T]]:
        """A class decorator: registers the class here under `name`, and with Keras' serialization."""

        def decorate(cls: type[T]) -> type[T]:
            if name in self._classes:
                raise ValueError(f"The {self._kind} {name!r} is registered already, as {self._classes[name]}")
            self._classes[name] = serializable(cls)
            return cls

        return decorate

    def names(self) -> list[str]:
        """The names of all registered classes, sorted."""
        return sorted(self._classes)

    def classes(self) -> dict[str, type[T]]:
        """The registered classes by name, sorted by name."""
        return {name: self._classes[name] for name in self.names()}

    def get(self, identifier: Any, **arguments: Any) -> T:
        """An instance from a name and the arguments of its class, a config of `keras.saving`, or an instance.

        Raises:
            ValueError: if the name is unknown, its class needs other arguments, or the object is of another kind.
        """
        if isinstance(identifier, str):
            if identifier not in self._classes:
                raise unknown_name(self._kind, identifier, self._classes)
            try:
                return self._classes[identifier](**arguments)
            except TypeError as error:
                raise ValueError(
                    f"The {self._kind} {identifier!r} takes other arguments ({error}). "
                    f"Received: {arguments}. Give an instance of `{self._classes[identifier].__name__}`."
                ) from error
        if arguments:
            raise ValueError(f"Arguments go with the name of a {self._kind}. Received: {arguments} and {identifier!r}")
        instance: Any = identifier
        if isinstance(identifier, dict):
            try:
                instance = keras.saving.deserialize_keras_object(identifier)
            except TypeError as error:
                raise ValueError(f"No {self._kind} can be made from the config {identifier!r}: {error}") from error
        if not isinstance(instance, self._base):
            raise ValueError(
                f"A {self._kind} should be a name ({', '.join(self.names())}), a config, or an instance of "
                f"`{self._base.__name__}`. Received: {identifier!r} (of type {type(identifier).__name__})"
            )
        return cast(T, instance)
