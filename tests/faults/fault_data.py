"""What the tests of faults share: small data sets, and how a bit is flipped."""

from pathlib import Path

import numpy as np

from worldrl.scene import Camera, Scene, Thing
from worldrl.types import Episode


def flip(path: Path) -> None:
    """Flip one bit near the end of a file."""
    content = bytearray(path.read_bytes())
    content[-5 if len(content) > 5 else 0] ^= 1
    path.write_bytes(content)


def small_episode(seed: int = 0, steps: int = 3) -> Episode:
    """Return an episode of a camera of 8 pixels a side, two numbers of proprioception and two of action."""
    rng = np.random.default_rng(seed)
    return Episode(
        frames=rng.integers(0, 256, (steps + 1, 8, 8, 3), dtype=np.uint8),
        labels=rng.integers(0, 3, (steps + 1, 8, 8), dtype=np.uint8),
        proprio=rng.normal(size=(steps + 1, 2)).astype(np.float32),
        acts=rng.uniform(-1, 1, (steps, 2)).astype(np.float32),
        rews=rng.normal(size=steps).astype(np.float32),
        success=np.zeros(steps + 1, np.bool_),
        states=rng.normal(size=(steps + 1, 3)),
        end=False,
        trunc=True,
        seed=seed,
        policy="policy",
        fields={"goal": rng.normal(size=1)},
        params={"shade": 3},
    )


def small_scene() -> Scene:
    """Return a scene of one thing in a picture of 6 by 6 pixels."""
    instances = np.zeros((6, 6), np.uint8)
    instances[1:3, 3:5] = 1
    thing = Thing("cube", "red", np.array([3, 1, 5, 3], np.float32), np.zeros(3), np.full(3, 0.05), np.eye(3), 1.0)
    camera = Camera(5.0, (3.0, 2.0), np.eye(3), np.zeros(3))
    image = np.arange(108, dtype=np.uint8).reshape(6, 6, 3)
    depth = np.full((6, 6), 0.75, np.float32)
    return Scene(image, instances, depth, (thing,), camera, np.array([0.0, -1.0, 0.0]), ("a red cube",), (("?", "!"),))
