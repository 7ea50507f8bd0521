"""A goal is read as the states it may mean, by what their wordings have in common."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from worldrl.encoders import load_text_encoder
from worldrl.encoders.weights import converted_folder
from worldrl.envs.drawer import DESCRIPTIONS
from worldrl.errors import ConfigError
from worldrl.language.goals import Descriptions, GoalReader

WORDS = ("lamp", "on", "off", "lit", "dark", "the", "is")
LAMP = Descriptions({"lit": ("the lamp is on", "the lamp is lit"), "dark": ("the lamp is off", "the lamp is dark")})
CLOSE = ("close the drawer", "shut the drawer", "push the drawer in", "slide the drawer shut", "put the drawer back in")
OPEN = (
    "open the drawer",
    "pull the drawer out",
    "pull the drawer open",
    "slide the drawer open",
    "draw the drawer out",
)


def count(texts: Sequence[str]) -> Tensor:
    """Return unit vectors that count words."""
    return normalize(torch.tensor([[float(word in text.split()) for word in WORDS] for text in texts]) + 1e-3, dim=1)


def test_a_wording_is_read_as_its_state_and_a_new_sentence_as_that_whose_words_it_has() -> None:
    reader = GoalReader(count, LAMP)
    for goal, meant in (("the lamp is on", 0), ("off", 1), ("lamp lit", 0), ("dark", 1)):
        shares = reader.shares(goal)
        assert shares.argmax() == meant and shares[meant] > 0.9
        assert float(shares.sum()) == pytest.approx(1.0)


def test_what_all_sentences_share_says_nothing() -> None:
    shares = GoalReader(count, LAMP).shares("the lamp is")
    torch.testing.assert_close(shares, torch.tensor([0.5, 0.5]), atol=1e-4, rtol=0)


def test_vectors_are_centred_and_states_are_means_over_their_wordings() -> None:
    reader = GoalReader(count, LAMP)
    torch.testing.assert_close(reader.texts.mean(dim=0), torch.zeros(len(WORDS)), atol=1e-6, rtol=0)
    torch.testing.assert_close(reader.states[1], reader.texts[2:].mean(dim=0))
    assert float(reader.texts.norm(dim=1).mean()) == pytest.approx(1.0)


def test_it_says_as_what_a_goal_is_read() -> None:
    assert GoalReader(count, LAMP).told("the lamp is off") == "dark 1.00, lit 0.00"


def test_every_wording_holds_where_its_state_does() -> None:
    uneven = Descriptions({"a": ("one",), "b": ("two", "three")})
    holds = torch.tensor([[True, False], [False, True]])
    assert uneven.states == ("a", "b") and uneven.sentences == ["one", "two", "three"]
    assert uneven.spread(holds).tolist() == [[True, False, False], [False, True, True]]


def test_descriptions_that_cannot_be_told_apart_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 2 states"):
        Descriptions({"lit": ("the lamp is on",)})
    with pytest.raises(ConfigError, match="at least 2 states, each with a statement"):
        Descriptions({"lit": ("the lamp is on",), "dark": ()})
    with pytest.raises(ConfigError, match="names must differ, got 'on' 2 times"):
        Descriptions({"lit": ("on",), "dark": ("on",)})


def test_a_goal_without_words_is_refused() -> None:
    with pytest.raises(ConfigError, match="text must say what is to be"):
        GoalReader(count, LAMP).shares("  ")


@pytest.mark.weights
def test_goals_that_no_description_uses_are_read_as_meant() -> None:
    folder = converted_folder("minilm")
    if not folder.is_dir():
        pytest.skip("weights are not here: worldrl encoders install minilm")
    reader = GoalReader(load_text_encoder(weights=folder), Descriptions(DESCRIPTIONS))
    assert not set(reader.descriptions.sentences) & {*CLOSE, *OPEN}
    for goals, state in ((CLOSE, "closed"), (OPEN, "open")):
        best = reader.scores(goals).argmax(dim=1).tolist()
        assert [reader.descriptions.states[i] for i in best] == [state] * len(goals)
