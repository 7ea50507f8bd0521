"""Play an imagined environment live: by hand or by a policy, the simulator beside it, in a page of this machine."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worldrl import signals
from worldrl.errors import ConfigError
from worldrl.player import BY_HAND, IMAGINATION, PACES, SIGHTS
from worldrl.recipes.options import check_threads, option
from worldrl.recipes.parts import make_env, need, pipeline_at, use_threads
from worldrl.recipes.results import Result
from worldrl.recipes.telling import say
from worldrl.shipped import shipped

LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass
class Config:
    """Options of ``worldrl play``."""

    run: str = option(
        "",
        "folder of a run (worldrl demo or train), or one that holds a world; films go to its videos/; empty for the "
        "small run that comes with the package, whose films go to videos/ here",
    )
    world: str = option("", "folder of a world; empty for that of the run")
    episodes: str = option("", "data set whose moments are begun from; empty for that of the run, if it has one")
    observation: str = option("", "folder of the observation pipeline; empty for that of the run, if it has one")
    policies: list[str] = field(
        default_factory=list, metadata={"help": "folders of policies beside those of the run; the last drives at first"}
    )
    real: bool = option(True, "whether MuJoCo runs beside it, under the same actions, where it can")
    host: str = option("127.0.0.1", "address to listen at; 0.0.0.0 for all, which lets others on this network play")
    port: int = option(8765, "port to listen at, or the next that is free; 0 for any")
    fps: float = option(16.0, "frames a second at first")
    seed: int = option(0, "of imagination and policies")
    threads: int = option(1, "threads of torch; a batch of one is not faster with more; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_threads(self.threads)
        if not 0 <= self.port <= 65535:
            raise ConfigError(f"port must be in 0 to 65535, got {self.port}.")
        if not PACES[0] <= self.fps <= PACES[1]:
            raise ConfigError(f"fps must be in {PACES[0]:g} to {PACES[1]:g}, got {self.fps:g}.")
        if not self.host:
            raise ConfigError("host must be an address of this machine, got none: leave it out for 127.0.0.1.")


def run(config: Config) -> Result:
    """Play until Ctrl-C; this thread owns the worlds, the renderer among them, and others only talk to it."""
    from worldrl.envs.rendering import close_shared_renderer
    from worldrl.player.exchange import Exchange
    from worldrl.player.loop import run as play
    from worldrl.player.server import serving

    use_threads(config.threads)
    folder, exchange = need(config.run, "run") if config.run else shipped(), Exchange()
    with ExitStack() as stack:
        stack.callback(close_shared_renderer)
        session, about = _session(config, folder, stack)
        stack.callback(session.close)
        server = stack.enter_context(
            serving(exchange, about=json.dumps(about), host=config.host, port=config.port, films=session.films),
        )
        _tell(config, server.port, server.url)
        with _interruptible():
            play(session, exchange)
    say("ended")
    return Result("", about | {"run": folder, "url": server.url})


@contextmanager
def _interruptible() -> Iterator[None]:
    """Leave at Ctrl-C, and at SIGTERM likewise, as if everything had been done."""
    with suppress(KeyboardInterrupt), signals.listen():
        yield


def _tell(config: Config, port: int, url: str) -> None:
    if config.port not in (0, port):
        say(f"port {config.port} is taken: {port} it is")
    say(f"play {config.run or 'the run that comes with the package'} at {url}")
    if config.host not in LOOPBACK:
        say("whoever has this address can play, and it travels unencrypted: end the player when you are done")
    say("Ctrl-C ends it")


def _session(config: Config, folder: Path, stack: ExitStack) -> tuple[Any, dict[str, Any]]:
    """Return the session of a run, and what a page has to know of it that does not change."""
    from worldrl.player.moments import KeptMoments, RecordedMoments
    from worldrl.player.session import Session
    from worldrl.recipes.played import load

    at = {name: _part(folder, name, getattr(config, name)) for name in ("world", "episodes", "observation")}
    place = at["world"] or folder  # worldrl train leaves its world in the run folder itself
    if at["world"] is None:
        model, *_ = (_within(folder, name) for name in ("model", "starts", "agent", "summary.json"))
        if not (model / "manifest.json").exists():
            raise ConfigError(
                f"run must hold a world, got none at '{folder / 'world'}': make one with worldrl demo, fit or train."
            )
    world = load(place)
    moments: Any = KeptMoments(world.starts)
    real = None
    if at["observation"] is not None and (at["episodes"] is not None or world.lives is not None):
        # What MuJoCo shows is new at every step: features that are remembered would fill the memory within hours.
        pipeline = stack.enter_context(pipeline_at(at["observation"], None, remember=False))
        pipeline.require(world.model.pipeline, owner=str(place))
        recorded, real = _recorded(config, at["episodes"], world, pipeline)
        moments = RecordedMoments(recorded, world.sees(pipeline), history=world.model.history)
    policies = {**_policies(config, folder, world.pipeline), **world.policies}
    choices = len(world.choices)
    session = Session(
        world.model, moments, horizon=world.horizon, decode=world.decode, policies=policies, real=real,
        films=_within(folder, "videos") if config.run else Path("videos"), pace=config.fps, seed=config.seed,
        rest=[1.0] + [0.0] * (choices - 1) if choices else (),
    )  # fmt: skip
    about = {
        "run": folder.resolve().name,
        "task": world.task,
        "axes": list(world.choices) or _axes(world.task, world.model.act_dim),
        "choices": list(world.choices),
        "drivers": [BY_HAND, *policies],
        "sights": list(SIGHTS) if real else [IMAGINATION],
        "lengths": list(moments.lengths),
        "actors": list(moments.actors),
        "horizon": world.horizon,
    }
    return session, about


def _part(folder: Path, name: str, given: str) -> Path | None:
    """Return a part of a run: what the user named, or else what lies in its folder; None where there is nothing."""
    if given:
        return need(given, name)
    path = _within(folder, name)
    return path if path.exists() else None


def _leads_within(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _within(folder: Path, name: str) -> Path:
    """Return a path that lies in the run folder, wherever links lead.

    Raises:
        ConfigError: If it leads elsewhere.
    """
    path = folder / name
    if not _leads_within(folder, path):
        raise ConfigError(f"{name} must lie within '{folder}', got a link to '{path.resolve()}': name it by an option.")
    return path


def _policies(config: Config, folder: Path, pipeline: str) -> dict[str, Any]:
    """Load the policies of the run that see what its world sees, and those that the user named, by name."""
    from worldrl import checkpoint
    from worldrl.agents.policy import load_policy

    found = []
    for path in sorted(folder.glob("*/manifest.json")):
        if not _leads_within(folder, path):
            say(f"{path.parent.name} leads out of the run: left out, unless policies= names it")
        elif checkpoint.read_json(path).get("kind") == "policy":
            found.append(path.parent)
    policies: dict[str, Any] = {}
    for path in sorted(found, key=lambda path: (path.name == "refined", path.name)):
        policy, origin = load_policy(path)
        if origin.pipeline == pipeline:
            policies[path.name] = policy
        else:
            say(f"{path.name} sees something else than this world: left out")
    if config.policies and not pipeline:
        raise ConfigError(
            f"policies must be none in a world of worldrl train, got '{config.policies[0]}': its agent alone sees it."
        )
    for given in config.policies:
        policy, origin = load_policy(need(given, "policy"))
        checkpoint.require_pipeline(pipeline, origin.pipeline, owner=given)
        name = Path(given).resolve().name
        if name in (BY_HAND, *policies):
            raise ConfigError(f"policies must have names of their own, got another '{name}': rename its folder.")
        policies[name] = policy
    return policies


def _recorded(config: Config, at: Path | None, world: Any, pipeline: Any) -> tuple[Any, Any]:
    """Return the episodes that are begun from, and their simulator; where none were kept, its agent plays some now."""
    from worldrl.data.dataset import Dataset

    if at is not None:
        dataset = Dataset(at)
        about = dataset.manifest
        return dataset, _simulator(about.env_id, about.env_kwargs, world.sees(pipeline)) if config.real else None
    say("no episodes were kept: the agent plays some to begin from")
    env = make_env(world.task, dict(world.env))
    try:
        lived = world.lives(env, pipeline)
    finally:
        env.close()
    return lived, _simulator(world.task, world.env, world.sees(pipeline)) if config.real else None


def _simulator(env_id: str, kwargs: Mapping[str, Any], pipeline: Any) -> Any:
    """Make the simulator that episodes were recorded in, as a policy sees it; None where actions are no numbers.

    Raises:
        CheckpointError: If it labels other objects than the pipeline was fitted on.
    """
    from gymnasium.spaces import Box

    from worldrl.agents.observing import check_objects, observe
    from worldrl.player.sides import Simulator

    env = make_env(env_id, dict(kwargs))
    if not isinstance(env.action_space, Box):
        env.close()
        return None
    check_objects(pipeline, env)
    return Simulator(env, lambda shown, env: observe(pipeline, [shown], [env]))


def _axes(task: str, count: int) -> list[str]:
    """Return what the numbers of an action are called, as the class of its environment says; else their numbers."""
    import gymnasium as gym
    from gymnasium.envs.registration import load_env_creator

    import worldrl.envs  # noqa: F401  registers the ids

    entry = gym.registry[task].entry_point if task in gym.registry else None
    named = getattr(load_env_creator(entry) if isinstance(entry, str) else entry, "axes", ())
    return list(named) if len(named) == count else [f"action {i + 1}" for i in range(count)]
