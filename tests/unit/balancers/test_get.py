"""Balancers by name, config and instance, and pairs of them."""

import keras
import pytest

from keras_mtl import balancers
from tests.unit.balancers._any import name_of, names_of, new


@pytest.fixture(params=balancers.names())
def cls(request):
    return balancers.classes()[request.param]


class TestGet:
    def test_by_name(self, cls):
        name = name_of(cls)
        assert type(balancers.get(name)) is cls
        assert balancers.get(name) is not balancers.get(name)

    def test_by_instance(self, cls):
        balancer = new(name_of(cls))
        assert balancers.get(balancer) is balancer

    def test_by_config(self, cls):
        found = balancers.get(keras.saving.serialize_keras_object(new(name_of(cls), name="mine")))
        assert (type(found), found.name) == (cls, "mine")

    @pytest.mark.parametrize("name, near", [("PCGrad", "'pcgrad'"), ("uncertain", "'uncertainty'"), ("zzz", None)])
    def test_an_unknown_name_lists_the_known_ones(self, name, near):
        with pytest.raises(ValueError) as caught:
            balancers.get(name)
        hint = f" Did you mean {near}" if near else ""
        known = ", ".join(sorted(balancers.names()))
        assert str(caught.value).startswith(f"Unknown balancer: {name!r}.{hint}")
        assert str(caught.value).endswith(f" The known ones are: {known}.")

    @pytest.mark.parametrize("identifier", [None, 3, balancers.Equal, {}, keras.layers.Dense(1)], ids=str)
    def test_what_is_no_balancer_is_refused(self, identifier):
        with pytest.raises(ValueError, match="A balancer should be a name .* instance of `Balancer`"):
            balancers.get(identifier)

    @pytest.mark.parametrize(
        "config",
        [
            {"class_name": "Unheard", "config": {}, "module": None, "registered_name": "keras_mtl>Unheard"},
            {**keras.saving.serialize_keras_object(balancers.PCGrad()), "config": {"speed": 1}},
        ],
        ids=["unknown class", "unknown argument"],
    )
    def test_other_configs_are_refused(self, config):
        with pytest.raises(ValueError, match="No balancer can be made from the config"):
            balancers.get(config)

    def test_names_are_sorted_and_every_class_is_public(self):
        assert balancers.names() == sorted(balancers.classes())
        assert {"equal", "fixed", "uncertainty", "sum", "mean", "pcgrad"} <= set(balancers.names())
        assert {cls.__name__ for cls in balancers.classes().values()} <= set(balancers.__all__)

    def test_each_is_a_layer_of_one_kind(self):
        kinds = [balancers.LossBalancer, balancers.GramianBalancer, balancers.GradientBalancer]
        assert sorted(name for kind in kinds for name in names_of(kind)) == balancers.names()
        assert all(issubclass(cls, keras.layers.Layer) for cls in balancers.classes().values())


class TestGetPair:
    @pytest.mark.parametrize("identifier", ["uncertainty", ["uncertainty"], balancers.Uncertainty()], ids=str)
    def test_a_loss_balancer_stands_alone(self, identifier):
        loss_balancer, gradient_balancer = balancers.get_pair(identifier)
        assert type(loss_balancer) is balancers.Uncertainty
        assert gradient_balancer is None

    @pytest.mark.parametrize("identifier", ["pcgrad", ("pcgrad",), balancers.PCGrad()], ids=str)
    def test_a_gradient_balancer_stands_on_equal_losses(self, identifier):
        assert [type(balancer) for balancer in balancers.get_pair(identifier)] == [balancers.Equal, balancers.PCGrad]

    @pytest.mark.parametrize("name", names_of(balancers.DirectionBalancer))
    def test_a_gradient_balancer_stands_on_the_losses_that_it_asks_for(self, name):
        loss_balancer, gradient_balancer = balancers.get_pair(name)
        assert type(loss_balancer) is balancers.classes()[gradient_balancer.default_losses]
        assert type(gradient_balancer) is balancers.classes()[name]

    def test_a_list_has_one_of_each(self):
        given = [balancers.Fixed(), keras.saving.serialize_keras_object(balancers.PCGrad(seed=3))]
        loss_balancer, gradient_balancer = balancers.get_pair(given)
        assert loss_balancer is given[0]
        assert gradient_balancer.seed == 3

    @pytest.mark.parametrize(
        "identifier",
        [[], ["pcgrad", "equal"], ["equal", "fixed"], ["sum", "pcgrad"], ["equal", "sum", "mean"]],
        ids=str,
    )
    def test_other_lists_are_refused(self, identifier):
        with pytest.raises(ValueError, match="a list of a loss balancer followed by a gradient balancer. Received: "):
            balancers.get_pair(identifier)

    def test_an_unknown_name_lists_the_known_ones(self):
        with pytest.raises(ValueError, match="Unknown balancer: 'pcgrat'. Did you mean 'pcgrad'"):
            balancers.get_pair(["equal", "pcgrat"])
