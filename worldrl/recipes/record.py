"""Make videos of a policy: real, imagined, and both side by side under the same actions from the same state."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import MISSING

from worldrl.recipes.options import EnvOptions, check_positive, option
from worldrl.recipes.parts import make_env, need, pipeline_at, seeds_for, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say


@dataclass
class Config:
    """Options of ``worldrl record``."""

    env: EnvOptions = field(default_factory=EnvOptions)
    policy: str = option(MISSING, "folder of the policy")
    observation: str = option(MISSING, "folder of the observation pipeline")
    out: str = option(MISSING, "folder of the videos")
    world: str = option("", "folder of a world; empty for real videos alone")
    episodes: int = option(6, "episodes, one after the other in each video")
    size: int = option(252, "pixels of the real videos; those beside imagination have the policy's own")
    fps: float = option(12.0, "frames a second")
    gif: bool = option(True, "whether to write each video as gif too")
    seed: int = option(0, "of the run; the episodes are those of the evaluation")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_positive(episodes=self.episodes, size=self.size, fps=self.fps)


def run(config: Config) -> Result:
    """Play the episodes, imagine them again under the same actions, and write the videos."""
    from worldrl.agents.policy import PolicyActor, load_policy
    from worldrl.data.rollout import roll_out
    from worldrl.evaluation.video import side_by_side

    use_threads(config.threads)
    env = make_env(config.env.id, dict(config.env.kwargs))
    name = Path(config.policy).name
    with pipeline_at(need(config.observation, "observation pipeline"), None) as pipeline:
        policy, origin = load_policy(need(config.policy, "policy"))
        pipeline.require(origin.pipeline, owner=config.policy)
        seeds = seeds_for("evaluation", config.seed, config.episodes)
        played = roll_out([env], PolicyActor(policy, pipeline), seeds=seeds, record=True, policy=name)
        large = make_env(config.env.id, dict(config.env.kwargs) | {"size": config.size})
        _write(config, f"real_{name}", [frame for episode in played for frame in redraw(large, episode)])
        if config.world:
            pairs, dreams, strips = [], [], []
            for i, episode in enumerate(played):
                frames, success, own = imagine_again(config.world, policy, pipeline, episode, seed=config.seed + i)
                real = [np.asarray(frame) for frame in episode.frames]
                flags = ([bool(s) for s in episode.success], success)
                pairs += list(side_by_side(_fit(real), _fit(frames), success=flags))
                dreams += _fit(own)
                strips.append(strip(real, frames))
            _write(config, f"side_by_side_{name}", pairs)
            write_picture(Path(config.out) / f"strip_{name}.png", np.concatenate(strips))
            _write(config, f"imagined_{name}", dreams)
    videos = sorted(path.name for path in Path(config.out).iterdir())
    say(f"videos {config.out}: {', '.join(videos)}")
    return Result("", {"out": config.out, "videos": videos})


def redraw(env: Any, episode: Any) -> list[Any]:
    """Draw a recorded episode again from its simulator states, at the size of ``env``."""
    return [env.unwrapped.restore(state, episode.fields, dict(episode.params))["image"] for state in episode.states]


def imagine_again(
    world_path: str, policy: Any, pipeline: Any, episode: Any, *, seed: int
) -> tuple[list[Any], list[bool], list[Any]]:
    """Imagine a recorded episode: under its own actions, and then freely under the policy, from its first observation.

    Returns:
        Frames and successes under the recorded actions, and frames under the policy's own.
    """
    import torch

    from worldrl.envs.guards import Guards
    from worldrl.envs.imagined import ImaginedVectorEnv
    from worldrl.recipes.imagined import decode_of
    from worldrl.types import Starts
    from worldrl.world_model.world import World

    world = World.from_pretrained(need(world_path, "world"))
    first = pipeline(episode.frames[:1], episode.proprio[:1], episode.labels[:1])
    history = world.model.history
    starts = Starts(
        torch.as_tensor(first).repeat(1, history, *[1] * (first.ndim - 2)).reshape(1, history, *first.shape[1:]),
        torch.zeros(1, history - 1, world.model.act_dim),
    )
    decode = decode_of(world)
    env = ImaginedVectorEnv(world.model, starts, num_envs=1, horizon=len(episode.acts) + 1, guards=Guards(halt=False))
    runs = []
    for free in (False, True):
        obs, _ = env.reset(seed=seed)
        frames, success, state = [decode(torch.as_tensor(obs))[0]], [False], None
        for recorded in episode.acts:
            act = recorded[None]
            if free:
                act, state = policy.predict(obs, state, deterministic=True)
            obs, _, end, _, info = env.step(np.clip(act, -1.0, 1.0))
            ended = bool(end[0])
            frames.append(decode(torch.as_tensor(info["final_obs"][0][None] if ended else obs))[0])
            success.append(bool((info["final_info"] if ended else info)["success"][0]))
            if ended:
                break
        runs.append((frames, success))
    return runs[0][0], runs[0][1], runs[1][0]


def strip(real: list[Any], imagined: list[Any], count: int = 8) -> Any:
    """Return one picture of an episode: ``count`` moments in a row, the real frames above the imagined ones."""
    from einops import rearrange

    from worldrl.encoders.thumbnails import SIZE, shrink

    moments = np.linspace(0, min(len(real), len(imagined)) - 1, count).round().astype(int)
    rows = []
    for frames in (real, imagined):
        small = shrink(np.stack([frames[i] for i in moments]), SIZE)
        pixels = rearrange((small * 255).round().byte(), "n c h w -> h (n w) c")
        rows.append(pixels.numpy().repeat(2, axis=0).repeat(2, axis=1))
    return np.concatenate(rows)


def write_picture(path: Path, picture: Any) -> None:
    """Write a PNG under a temporary name and rename it."""
    import imageio.v3 as imageio

    staged = path.with_name(f".tmp-{path.name}")
    imageio.imwrite(staged, picture, extension=".png")
    staged.replace(path)


def _fit(frames: list[Any]) -> list[Any]:
    """Enlarge frames to about 200 pixels by repeating pixels."""
    times = max(1, 200 // frames[0].shape[0])
    return [frame.repeat(times, axis=0).repeat(times, axis=1) for frame in frames]


def _write(config: Config, name: str, frames: list[Any]) -> None:
    from worldrl.evaluation.video import write_video

    for suffix in ("mp4", "gif") if config.gif else ("mp4",):
        write_video(Path(config.out) / f"{name}.{suffix}", frames, fps=config.fps)
