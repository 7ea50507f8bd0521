"""A goal as text for a world: success is then that a sentence holds, by a judge that learnt from descriptions."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from worldrl.errors import CheckpointError
from worldrl.recipes.parts import need
from worldrl.recipes.telling import say

KIND = "goals"
TEXT = {"name": "minilm", "random_init": False, "seed": 0}
"""Whose vectors texts have: the arguments of ``worldrl.encoders.load_text_encoder``."""


@dataclass(frozen=True)
class Goals:
    """A judge of sentences beside one world.

    Attributes:
        reader: Reads goals as states.
        judge: Says what holds in an observation.
        model: Hash of the world's model that it was made beside.
        thresholds: From which probability each state counts in imagination ``(k,)``.
        first: When each state first came about in each episode that imagined ones begin with ``(m, k)``: the step, or
            -1 where it never did. The first observation does not count: nobody has acted yet.
        text: What the text encoder is loaded with.
    """

    reader: Any
    judge: Any
    model: str
    thresholds: Any
    first: Any
    text: Mapping[str, Any]

    def aim(self, world: Any, text: str) -> Any:
        """Return a world in which success is that a sentence holds; nothing in it knows the task's own success.

        Raises:
            CheckpointError: If this was made beside another world.
        """
        from worldrl.world_model.goals import GoalSuccess

        if world.model.hash() != self.model or len(self.first) != world.firsts:
            raise CheckpointError("goal was made beside another world: make it for this one with worldrl goals.")
        shares = self.reader.shares(text)
        model, first = copy.deepcopy(world.model), self.first[:, int(shares.argmax())].tolist()
        model.success = model.audit = GoalSuccess(self.judge, states=self.reader.states, shares=shares)
        model.success_threshold = model.audit_threshold = float(shares @ self.thresholds)
        known = [None if real is None else step >= 0 for real, step in zip(world.outcomes, first, strict=True)]
        wins = tuple(step for step in first if step >= 0)
        return replace(world, model=model.freeze(), wins=wins, outcomes=tuple(known))

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder.

        Raises:
            StorageError: If it cannot be written.
        """
        from worldrl import checkpoint

        wordings = {name: list(said) for name, said in self.reader.descriptions.wordings.items()}
        config = {
            "judge": self.judge.config(), "wordings": wordings, "model": self.model, "text": dict(self.text),
            "fingerprint": self.reader.encode.fingerprint,
        }  # fmt: skip
        tensors = {f"judge.{name}": value for name, value in self.judge.state_dict().items()}
        tensors |= {"thresholds": self.thresholds, "first": self.first}
        checkpoint.save(path, kind=KIND, config=config, tensors=tensors)

    @classmethod
    def from_pretrained(cls, path: Path) -> "Goals":
        """Load from a folder.

        Raises:
            CheckpointError: If it is damaged, or was made with another text encoder than the one that is here.
        """
        from worldrl import checkpoint
        from worldrl.encoders import load_text_encoder
        from worldrl.language.goals import Descriptions, GoalReader
        from worldrl.world_model.goals import TextJudge

        saved = checkpoint.load(path, kind=KIND)
        with checkpoint.described(path, "goals"):
            config = saved.config
            encoder = load_text_encoder(**{name: config["text"][name] for name in TEXT})
            reader = GoalReader(encoder, Descriptions(config["wordings"]))
            judge = TextJudge(**config["judge"] | {"obs_shape": tuple(config["judge"]["obs_shape"])})
            tensors = dict(saved.tensors)
            thresholds, first = tensors.pop("thresholds"), tensors.pop("first")
            found = encoder.fingerprint == config["fingerprint"]
        if not found:
            raise CheckpointError(
                f"{path} was made with another text encoder than the one that is here: make it again."
            )
        checkpoint.load_state(judge, {name.removeprefix("judge."): x for name, x in tensors.items()}, path=path)
        return cls(reader, judge.eval(), str(config["model"]), thresholds, first, config["text"])


def aimed(world: Any, *, goal: str, text: str) -> Any:
    """Return a world whose success is that a text holds; the world itself where no folder of goals is named.

    Raises:
        ConfigError: If there is no such folder.
        CheckpointError: If it is damaged or was made beside another world.
    """
    if not goal:
        return world
    goals = Goals.from_pretrained(need(goal, "goals"))
    say(f"goal '{text}' is read as {goals.reader.told(text)}")
    return goals.aim(world, text)
