"""The checks of arguments: what each lets through, and what it says of the rest."""

import re
from fractions import Fraction

import numpy as np
import pytest

from keras_mtl import _checks


class TestName:
    @pytest.mark.parametrize("value", ["a", "Z", "is_cat", "mask2", "A_1_b"])
    def test_lets_identifiers_through(self, value):
        assert _checks.check_name(value, "name") == value

    @pytest.mark.parametrize(
        "value", ["", "_a", "2a", "a b", "a-b", "a/b", "a.b", "a\n", " a", "ä", "a:0", None, 3, b"a", ["a"]], ids=repr
    )
    def test_refuses_the_rest(self, value):
        received = re.escape(f"Received: label={value!r}")
        with pytest.raises(ValueError, match=rf"`label` should be .*letters, digits and underscores.*{received}$"):
            _checks.check_name(value, "label")


class TestInteger:
    @pytest.mark.parametrize("value", [1, 7, np.int64(1), np.uint8(200), 10**400])
    def test_lets_integers_through_as_int(self, value):
        result = _checks.check_integer(value, "k")
        assert type(result) is int
        assert result == value

    @pytest.mark.parametrize("value", [0, -1, 1.0, "1", None, True, np.True_, np.float32(2), [1]], ids=repr)
    def test_refuses_the_rest(self, value):
        received = re.escape(f"Received: k={value!r}")
        with pytest.raises(ValueError, match=f"`k` should be an integer of at least 1. {received}$"):
            _checks.check_integer(value, "k")

    @pytest.mark.parametrize("minimum", [-3, 0, 2])
    def test_the_minimum_is_the_least(self, minimum):
        assert _checks.check_integer(minimum, "k", minimum=minimum) == minimum
        with pytest.raises(ValueError, match=f"at least {minimum}. Received: k={minimum - 1}$"):
            _checks.check_integer(minimum - 1, "k", minimum=minimum)


class TestSeed:
    @pytest.mark.parametrize("value", [0, 7, 2**32 - 1, np.int64(3), np.uint8(3)], ids=repr)
    def test_lets_integers_through_as_int(self, value):
        result = _checks.check_seed(value)
        assert type(result) is int
        assert result == value

    def test_none_is_a_random_one(self):
        assert _checks.check_seed(None) is None

    @pytest.mark.parametrize("value", [True, -1, 2**32, 1.0, "7"], ids=repr)
    def test_refuses_the_rest(self, value):
        with pytest.raises(ValueError, match=r"`seed` should be an integer from 0 to .*Received: seed="):
            _checks.check_seed(value)


class TestNumber:
    @pytest.mark.parametrize("value", [0, 3, 0.25, 3.4e38, np.float32(0.5), np.int8(3), Fraction(1, 4)], ids=repr)
    def test_lets_numbers_through_as_float(self, value):
        result = _checks.check_number(value, "c")
        assert type(result) is float
        assert result == value

    @pytest.mark.parametrize(
        "value", [-1, -1e-12, np.nan, np.inf, -np.inf, "1", None, True, 1j, [1.0], np.float32("nan")], ids=repr
    )
    def test_refuses_the_rest(self, value):
        received = re.escape(f"Received: c={value!r}")
        with pytest.raises(ValueError, match=f"`c` should be a finite number of at least 0. {received}$"):
            _checks.check_number(value, "c")

    def test_refuses_an_integer_that_no_float_holds(self):
        with pytest.raises(ValueError, match="`c` should be a finite number"):
            _checks.check_number(10**400, "c")

    @pytest.mark.parametrize("value", [1e39, 1e300, 10**39], ids=repr)
    def test_refuses_what_has_no_place_in_float32(self, value):
        with pytest.raises(ValueError, match="`c` should be a finite number .* It has no place in float32"):
            _checks.check_number(value, "c")
        with pytest.raises(ValueError, match="`c` should be a number from 0 to 1"):
            _checks.check_fraction(10**400, "c")

    def test_refuses_what_is_not_finite_without_a_bound_too(self):
        assert _checks.check_number(-1e30, "c", minimum=-np.inf) == -1e30
        with pytest.raises(ValueError, match="`c` should be a finite number"):
            _checks.check_number(-np.inf, "c", minimum=-np.inf)

    def test_the_lower_bound_is_in_and_the_upper_one_is_not(self):
        check = lambda value: _checks.check_number(value, "c", minimum=-2.0, below=1.0)  # noqa: E731
        assert check(-2) == -2.0
        assert check(np.nextafter(1.0, 0.0)) < 1.0
        for value in (np.nextafter(-2.0, -3.0), 1, 1.0):
            with pytest.raises(ValueError, match=r"`c` should be a finite number of at least -2 and below 1\. "):
                check(value)


class TestIntegers:
    @pytest.mark.parametrize(
        "value, expected",
        [(3, (3,)), (np.int32(3), (3,)), ([4, 5], (4, 5)), ((np.int64(1),), (1,)), ([], ()), (range(1, 4), (1, 2, 3))],
    )
    def test_lets_an_integer_or_a_sequence_through_as_a_tuple(self, value, expected):
        result = _checks.check_integers(value, "units")
        assert result == expected
        assert all(type(item) is int for item in result)

    @pytest.mark.parametrize("value", ["64", b"64", 2.5, None, True, {3, 4}, {3: 4}], ids=repr)
    def test_refuses_what_is_no_sequence(self, value):
        with pytest.raises(ValueError, match="`units` should be an integer or a sequence of integers. Received: units"):
            _checks.check_integers(value, "units")

    @pytest.mark.parametrize("value, index", [(0, 0), ([64, 0], 1), ([64, 32, 1.5], 2), ([True], 0), (["64"], 0)])
    def test_names_the_item_that_is_wrong(self, value, index):
        with pytest.raises(ValueError, match=rf"`units\[{index}\]` should be an integer of at least 1"):
            _checks.check_integers(value, "units")

    def test_takes_a_minimum(self):
        assert _checks.check_integers([0, 2], "units", minimum=0) == (0, 2)
        with pytest.raises(ValueError, match="at least 3"):
            _checks.check_integers([3, 2], "units", minimum=3)


class TestOneOf:
    def test_lets_the_options_through(self):
        assert _checks.check_one_of("b", "mode", ["a", "b"]) == "b"
        assert _checks.check_one_of(None, "mode", (option for option in ("a", None))) is None

    @pytest.mark.parametrize("value", ["c", "A", None, ["a"]], ids=repr)
    def test_refuses_the_rest_and_lists_the_options(self, value):
        message = re.escape(f"Parameter `mode` should be one of ['a', 'b']. Received: mode={value!r}")
        with pytest.raises(ValueError, match=message):
            _checks.check_one_of(value, "mode", iter("ab"))


class TestSameNames:
    def check(self, received, expected):
        _checks.check_same_names(received, expected, what="keys of the labels", mend="Mend it.")

    def test_the_order_does_not_matter(self):
        self.check({"b": 1, "a": 2}, ["a", "b"])
        self.check(iter("ab"), iter("ba"))
        self.check([], [])

    @pytest.mark.parametrize(
        "received, difference",
        [
            (["a"], "; absent: ['b']"),
            (["b", "a", "d", "c"], "; not expected: ['c', 'd']"),
            (["b", "c"], "; not expected: ['c']; absent: ['a']"),
            ([], "; absent: ['a', 'b']"),
        ],
    )
    def test_shows_both_sets_and_their_difference(self, received, difference):
        message = f"The keys of the labels should be ['a', 'b']. Received: {sorted(received)}{difference}. Mend it."
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            self.check(received, ["b", "a"])

    def test_takes_names_that_cannot_be_sorted(self):
        with pytest.raises(ValueError, match="keys of the labels should be"):
            self.check([0, "a"], ["a", "b"])
