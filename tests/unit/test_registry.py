"""The registry: names, configs and instances, and what is said of all else."""

import re

import keras
import pytest

from keras_mtl._registry import Registry, serializable, unknown_name


class Fruit:
    def __init__(self, colour="red", *, weight=1):
        self.colour, self.weight = colour, weight

    def get_config(self):
        return {"colour": self.colour, "weight": self.weight}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


fruits = Registry("fruit", Fruit)


@fruits.register("pear")
class RegistryPear(Fruit):
    pass


@fruits.register("apple")
class RegistryApple(Fruit):
    pass


@serializable
class RegistryStone(Fruit):
    """Serializable, but of no registry."""


class TestRegister:
    def test_returns_the_class_itself(self):
        assert RegistryApple.__name__ == "RegistryApple"
        assert isinstance(RegistryApple(), Fruit)

    def test_names_and_classes_are_sorted(self):
        assert fruits.names() == ["apple", "pear"]
        assert list(fruits.classes().items()) == [("apple", RegistryApple), ("pear", RegistryPear)]

    def test_names_and_classes_are_copies(self):
        fruits.names().clear()
        fruits.classes().clear()
        assert fruits.names() == ["apple", "pear"]

    def test_registers_with_keras_under_the_name_of_the_package(self):
        assert keras.saving.get_registered_name(RegistryApple) == "keras_mtl>RegistryApple"
        assert keras.saving.get_registered_object("keras_mtl>RegistryApple") is RegistryApple

    def test_registries_know_nothing_of_each_other(self):
        assert Registry("fruit", Fruit).names() == []


class TestGet:
    def test_by_name(self):
        assert type(fruits.get("apple")) is RegistryApple
        assert fruits.get("apple") is not fruits.get("apple")

    def test_by_name_with_arguments(self):
        assert fruits.get("pear", colour="green", weight=2).get_config() == {"colour": "green", "weight": 2}

    def test_by_config(self):
        found = fruits.get(keras.saving.serialize_keras_object(RegistryPear("yellow", weight=3)))
        assert type(found) is RegistryPear
        assert found.get_config() == {"colour": "yellow", "weight": 3}

    def test_an_instance_is_returned_as_it_is(self):
        pear = RegistryPear()
        assert fruits.get(pear) is pear

    def test_an_instance_of_a_class_that_is_not_registered_will_do(self):
        stone = RegistryStone("grey")
        assert fruits.get(stone) is stone
        assert fruits.get(keras.saving.serialize_keras_object(stone)).colour == "grey"

    @pytest.mark.parametrize("name", ["Apple", "aple", "banana", ""])
    def test_an_unknown_name_lists_the_known_ones(self, name):
        with pytest.raises(ValueError, match=f"^Unknown fruit: {name!r}.* The known ones are: apple, pear.$"):
            fruits.get(name)

    @pytest.mark.parametrize("arguments", [{"size": 1}, {"colour": "red", "size": 1}])
    def test_arguments_of_another_class_name_the_class(self, arguments):
        message = rf"'apple' takes other arguments .*'size'.*Received: {re.escape(str(arguments))}.*`RegistryApple`"
        with pytest.raises(ValueError, match=message):
            fruits.get("apple", **arguments)

    @pytest.mark.parametrize("identifier", [None, 3, RegistryApple, {}, ["apple"], keras.layers.Dense(1)])
    def test_what_is_no_fruit_is_refused(self, identifier):
        message = rf"A fruit should be a name \(apple, pear\), .* of `Fruit`.*of type {type(identifier).__name__}\)$"
        with pytest.raises(ValueError, match=message):
            fruits.get(identifier)

    def test_a_config_of_another_kind_is_refused(self):
        with pytest.raises(ValueError, match="A fruit should be a name"):
            fruits.get(keras.saving.serialize_keras_object(keras.layers.Dense(1)))


class TestUnknownName:
    def test_names_the_nearest_in_any_case(self):
        message = str(unknown_name("fruit", "APPEL", ["pear", "Apple", "plum"]))
        assert message == "Unknown fruit: 'APPEL'. Did you mean 'Apple'? The known ones are: Apple, pear, plum."

    def test_names_several(self):
        message = str(unknown_name("network", "ResNet51", ["VGG", "ResNet50", "ResNet101"]))
        assert "Did you mean 'ResNet50' or 'ResNet101'?" in message

    @pytest.mark.parametrize("name", ["zzz", 7, None])
    def test_names_none_where_none_is_near(self, name):
        assert str(unknown_name("fruit", name, iter(["pear"]))) == f"Unknown fruit: {name!r}. The known ones are: pear."
