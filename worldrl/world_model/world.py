"""Everything that an imagined environment is made of, in one folder: model, starts, decoder, horizon."""

from dataclasses import dataclass
from pathlib import Path

from worldrl import checkpoint
from worldrl.downloads import located
from worldrl.errors import CheckpointError
from worldrl.types import Starts
from worldrl.world_model.decoder import TokenDecoder
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.visual import VisualDecoder


@dataclass(frozen=True)
class World:
    """A fitted world model and where its episodes start.

    Attributes:
        model: The world model, frozen.
        starts: The histories that imagined episodes start from: those of real episodes' first observations first.
        firsts: How many of the starts are first observations.
        horizon: Decisions until an imagined episode is truncated; that of the real task.
        task: Id of the real environment.
        real_steps: Recorded steps that it was fitted to.
        wins: Decisions to success of the recorded successful episodes it was fitted to.
        outcomes: Of each of the ``firsts`` episodes, whether it succeeded when the cloned policy played it; None where
            somebody else did.
        decoder: Draws tokens; None where observations are frames already.
    """

    model: DiffusionWorldModel
    starts: Starts
    firsts: int
    horizon: int
    task: str
    real_steps: int
    wins: tuple[int, ...]
    outcomes: tuple[bool | None, ...]
    decoder: TokenDecoder | VisualDecoder | None

    def save_pretrained(self, path: Path) -> None:
        """Save to a folder of checkpoints, all of them or none.

        Raises:
            StorageError: If it cannot be written.
        """
        checkpoint.commit(Path(path), self._write)

    @classmethod
    def from_pretrained(cls, path: Path) -> "World":
        """Load from a folder, or from ``hub:owner/name``.

        Raises:
            CheckpointError: If a part is missing or damaged, or model and starts are of two different worlds.
        """
        path = located(path)
        saved = checkpoint.load(path / "starts", kind="starts")
        model = DiffusionWorldModel.from_pretrained(path / "model")
        if saved.config.get("model") != model.hash():
            raise CheckpointError(f"{path} holds the model of one world and the starts of another: fit it again.")
        with checkpoint.described(path / "starts", "the starts of a world"):
            return cls(
                model=model,
                starts=Starts(saved.tensors["obs"], saved.tensors["acts"]),
                firsts=int(saved.config["firsts"]),
                horizon=int(saved.config["horizon"]),
                task=str(saved.config["task"]),
                real_steps=int(saved.config["real_steps"]),
                wins=tuple(int(steps) for steps in saved.config["wins"]),
                outcomes=tuple(saved.config["outcomes"]),
                decoder=load_decoder(path / "decoder") if saved.config["decoder"] else None,
            )

    def _write(self, folder: Path) -> None:
        self.model.save_pretrained(folder / "model")
        if self.decoder is not None:
            self.decoder.save_pretrained(folder / "decoder")
        names = ("firsts", "horizon", "task", "real_steps", "wins", "outcomes")
        config = {name: getattr(self, name) for name in names} | {"decoder": self.decoder is not None}
        tensors = {"obs": self.starts.obs, "acts": self.starts.acts}
        checkpoint.save(folder / "starts", kind="starts", config=config | {"model": self.model.hash()}, tensors=tensors)
        facts = {name: getattr(self, name) for name in ("task", "horizon", "real_steps")}
        facts |= {"obs_shape": list(self.model.obs_shape), "act_dim": self.model.act_dim, "episodes": self.firsts}
        checkpoint.seal(folder, kind="world", config={}, facts=facts)


def load_decoder(path: Path) -> TokenDecoder | VisualDecoder:
    """Load the decoder that was saved there: of visual tokens, or of objects."""
    visual = "visual" in checkpoint.load(path, kind="decoder").config
    return VisualDecoder.from_pretrained(path) if visual else TokenDecoder.from_pretrained(path)
