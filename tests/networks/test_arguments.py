import pytest

from radseg.networks.arguments import channel_widths, dropout_share, known_names, positive_integer, true_or_false


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None])
def test_only_integers_of_at_least_one_pass(value):
    with pytest.raises(ValueError, match="heads must be an integer of at least 1"):
        positive_integer("heads", value)


def test_widths_from_json_become_a_tuple():
    assert channel_widths("features", [4, 8]) == (4, 8)


def test_a_name_far_from_any_is_refused_with_the_list_alone():
    with pytest.raises(ValueError, match=r"without: unknown name 'xyz'; Choose from ffm, sem"):
        known_names("without", "xyz", ("ffm", "sem"))


def test_a_name_in_capitals_is_offered_in_small_letters():
    with pytest.raises(ValueError, match="did you mean 'aspp'"):
        known_names("without", ["ASPP"], ("ffm", "aspp"))


def test_what_is_no_name_at_all_is_refused_with_the_list():
    with pytest.raises(ValueError, match="without must be a name or several of ffm, sem, got None"):
        known_names("without", None, ("ffm", "sem"))


@pytest.mark.parametrize("value", [-0.1, 1, True, "0.2", None, float("nan")])
def test_only_shares_below_one_pass_as_dropout(value):
    with pytest.raises(ValueError, match="dropout must be at least 0 and less than 1"):
        dropout_share("dropout", value)


def test_no_dropout_at_all_is_a_share():
    assert dropout_share("dropout", 0) == 0.0


@pytest.mark.parametrize("value", ["false", 0, None])
def test_only_true_and_false_pass_as_such(value):
    with pytest.raises(ValueError, match="batch_norm must be true or false"):
        true_or_false("batch_norm", value)
