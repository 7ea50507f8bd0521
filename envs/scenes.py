"""Random table-top scenes whose labels MuJoCo gives exactly."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from worldrl.envs.rendering import shared_renderer
from worldrl.envs.shapes import MAY_LIE, PARTS, bounds, orientation
from worldrl.envs.simulator import mujoco
from worldrl.errors import ConfigError
from worldrl.scene import BASE, COLOURS, NAMES, NOVEL, Camera, Scene, Thing, check_names
from worldrl.types import Array

FAMILY = "scene"
LEAST, MOST = 2, 6
"""Things in a scene."""
HALF_WIDTH, HALF_DEPTH = 0.17, 0.15
"""How far from the middle of the table things may stand, metres along x and y."""
SEEN, PIXELS = 0.4, 0.0012
"""Shares that must be seen of a thing: of itself, and of the picture."""
TRIES = 200
"""Layouts that are tried before a scene is given up."""
_FAR_FROM_AXIS = 0.06
"""Metres by which the camera's target is moved at random."""


@dataclass(frozen=True)
class Look:
    """How light, camera and table vary: ranges (lowest, highest) that are drawn from.

    Attributes:
        light: Brightness of the lamp, in [0, 1].
        azimuth: Of the camera about the table, radians; the sign is drawn too.
        elevation: Of the camera above the table, radians.
        distance: Of the camera from the table's middle, metres.
        tables: Materials of the table.
        tint: How much the table's colour may vary.
    """

    light: tuple[float, float]
    azimuth: tuple[float, float]
    elevation: tuple[float, float]
    distance: tuple[float, float]
    tables: tuple[str, ...]
    tint: float


USUAL = Look((0.4, 0.6), (0.0, 0.12), (0.7, 0.82), (0.78, 0.86), ("plain",), 0.06)
SHIFTED = Look((0.12, 0.9), (0.35, 0.8), (0.5, 0.65), (0.74, 0.92), ("checks", "boards"), 0.2)
"""The domain that nobody was trained on: another light, another camera, another table."""


@dataclass(frozen=True)
class _Placed:
    """A thing where it stands: its pose in the world and the frame of its box."""

    name: str
    position: Array
    rotation: Array
    scale: float
    rgb: Array

    @property
    def shape(self) -> str:
        return self.name.split()[1]


def draw_scenes(
    count: int,
    *,
    seed: int,
    size: int = 224,
    names: Sequence[str] = NAMES,
    shifted: bool = False,
    novel_share: float = 0.4,
) -> Iterator[Scene]:
    """Draw random scenes, each with its labels; captions are not among them.

    Scene ``i`` depends on the seed and ``i`` alone, not on how many there are.

    Args:
        count: How many.
        seed: Of everything.
        size: Height and width of a picture, pixels.
        names: What may stand on the table, each at most once in a scene.
        shifted: Whether light, camera and table are of the domain that is not trained on.
        novel_share: Probability with which a thing is of a novel class, where both kinds are among the names.

    Raises:
        ConfigError: If a number is out of range, or a name is empty, unknown or twice there.
    """
    check_names(names)
    unknown = sorted(set(names) - set(NAMES))
    if unknown:
        raise ConfigError(f"names must be among those of worldrl.scene.NAMES, got '{unknown[0]}'.")
    if count < 1 or size < 32 or len(names) < LEAST:
        raise ConfigError(
            f"count must be at least 1, size at least 32 and names at least {LEAST}, "
            f"got {count}, {size} and {len(names)}."
        )
    look = SHIFTED if shifted else USUAL
    for i in range(count):
        yield _scene(np.random.default_rng([seed, i]), names, look, size, novel_share)


def _scene(rng: np.random.Generator, names: Sequence[str], look: Look, size: int, novel_share: float) -> Scene:
    """Draw layouts until one shows all that stands in it."""
    for _ in range(TRIES):
        placed = _layout(rng, _choose(rng, names, novel_share))
        model = _model(placed, rng, look)
        scene = _labelled(model, placed, size)
        if scene is not None:
            return scene
    raise AssertionError(f"no layout in {TRIES} shows all of its things")


def _choose(rng: np.random.Generator, names: Sequence[str], novel_share: float) -> list[str]:
    kinds = [[name for name in names if name in kind] for kind in (BASE, NOVEL)]
    chosen: list[str] = []
    for _ in range(min(int(rng.integers(LEAST, MOST + 1)), len(names))):
        left = [[name for name in kind if name not in chosen] for kind in kinds]
        novel = bool(left[1]) and (not left[0] or rng.random() < novel_share)
        chosen.append(str(rng.choice(left[int(novel)])))
    return chosen


def _layout(rng: np.random.Generator, names: Sequence[str]) -> list[_Placed]:
    """Put things on free spots of the table, standing or, now and then, lying."""
    placed: list[_Placed] = []
    for name in names:
        shape, colour = name.split()[1], name.split()[0]
        scale, yaw = rng.uniform(0.85, 1.15), rng.uniform(-np.pi, np.pi)
        turn = _about_z(yaw)
        if shape in MAY_LIE and rng.random() < 0.25:
            turn = turn @ np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
        for _ in range(TRIES):
            spot = rng.uniform([-HALF_WIDTH, -HALF_DEPTH], [HALF_WIDTH, HALF_DEPTH])
            if all(np.linalg.norm(spot - other.position[:2]) > 0.1 for other in placed):
                break
        height = -bounds(shape, turn, scale)[0, 2]
        rgb = np.clip(np.array(COLOURS[colour]) + rng.uniform(-0.05, 0.05, 3), 0.0, 1.0)
        placed.append(_Placed(name, np.array([*spot, height]), turn, scale, rgb))
    return placed


def _about_z(angle: float) -> npt.NDArray[np.float64]:
    return np.array([[np.cos(angle), -np.sin(angle), 0.0], [np.sin(angle), np.cos(angle), 0.0], [0.0, 0.0, 1.0]])


def _model(placed: Sequence[_Placed], rng: np.random.Generator, look: Look) -> mujoco.MjModel:
    """Compile the table with things on it, seen and lit in one way."""
    tree = copy.deepcopy(_base())
    world = tree.find("worldbody")
    assert world is not None
    for i, one in enumerate(placed):
        body = ElementTree.SubElement(
            world, "body", name=f"thing_{i}", pos=_text(one.position), quat=_text(_quaternion(one.rotation))
        )
        for part in PARTS[one.shape]:
            rgb = 0.25 * one.rgb if part.dark else one.rgb
            ElementTree.SubElement(
                body, "geom", type=part.kind, size=_text(one.scale * np.array(part.size)),
                pos=_text(one.scale * np.array(part.position)), quat=_text(_quaternion(orientation(part))),
                rgba=_text([*rgb, 1.0]),
            )  # fmt: skip
    _aim(world, rng, look)
    return mujoco.MjModel.from_xml_string(ElementTree.tostring(tree, encoding="unicode"))


def _aim(world: ElementTree.Element, rng: np.random.Generator, look: Look) -> None:
    """Draw where the camera is, how bright the lamp is and what the table looks like."""
    camera, lamp, table = (world.find(tag) for tag in ("camera", "light", "geom"))
    assert camera is not None and lamp is not None and table is not None
    azimuth = rng.uniform(*look.azimuth) * rng.choice([-1.0, 1.0])
    elevation, distance = rng.uniform(*look.elevation), rng.uniform(*look.distance)
    away = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    target = np.array([*rng.uniform(-0.2, 0.2, 2) * _FAR_FROM_AXIS, 0.03])
    right = np.cross([0.0, 0.0, 1.0], away)
    right /= np.linalg.norm(right)
    camera.set("pos", _text(target + distance * away))
    camera.set("xyaxes", _text([*right, *np.cross(away, right)]))
    bright = rng.uniform(*look.light)
    lamp.set("diffuse", _text([bright] * 3))
    lamp.set("pos", _text(np.array([0.2, -0.4, 1.5]) + rng.uniform(-0.3, 0.3, 3)))
    table.set("material", str(rng.choice(look.tables)))
    tone = np.array([0.72, 0.62, 0.5]) if look.tables == ("plain",) else np.full(3, 0.8)
    table.set("rgba", _text([*np.clip(tone + rng.uniform(-look.tint, look.tint, 3), 0.0, 1.0), 1.0]))


def _labelled(model: mujoco.MjModel, placed: Sequence[_Placed], size: int) -> Scene | None:
    """Draw a scene with its labels; None if a thing is hardly seen, or cut by the edge of the picture."""
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    view: dict[str, Any] = {"family": FAMILY, "camera": 0, "height": size, "width": size}
    image, depth = shared_renderer().measure(model, data, **view)
    instances = _instances(model, data, view)
    camera = _camera(model, data, size)
    things = []
    for i, one in enumerate(placed):
        box = _box(instances == i + 1)
        whole = _alone(model, data, i, view)
        pixels = int((instances == i + 1).sum())
        if box is None or pixels < max(SEEN * whole.sum(), PIXELS * size * size) or _at_edge(whole):
            return None
        things.append(_thing(one, box, pixels / int(whole.sum()), camera))
    ground = camera.rotation @ np.array([0.0, 0.0, 1.0])
    return Scene(image, instances, depth, tuple(things), camera, ground)


def _thing(one: _Placed, box: Array, visible: float, camera: Camera) -> Thing:
    low, high = bounds(one.shape, scale=one.scale)
    centre = camera.to_camera(one.position + one.rotation @ ((low + high) / 2))
    return Thing(
        one.shape, one.name.split()[0], box, centre, high - low, camera.rotation @ one.rotation, min(visible, 1.0)
    )


def _instances(model: mujoco.MjModel, data: mujoco.MjData, view: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Return which thing is seen where: bodies are numbered from one, the world being zero; so are labels."""
    table = np.append(model.geom_bodyid, 0).astype(np.uint8)  # the last answers for -1, where there is no geom
    return np.asarray(table[shared_renderer().segment(model, data, **view)])


def _alone(model: mujoco.MjModel, data: mujoco.MjData, thing: int, view: dict[str, Any]) -> npt.NDArray[np.bool_]:
    """Return where a thing would be seen if nothing stood before it."""
    colours = model.geom_rgba.copy()
    others = (model.geom_bodyid != thing + 1) & (model.geom_bodyid != 0)
    model.geom_rgba[others, 3] = 0.0
    seen: npt.NDArray[np.bool_] = _instances(model, data, view) == thing + 1
    model.geom_rgba[:] = colours
    return seen


def _camera(model: mujoco.MjModel, data: mujoco.MjData, size: int) -> Camera:
    focal = size / (2.0 * np.tan(np.radians(float(model.cam_fovy[0])) / 2.0))
    axes = data.cam_xmat[0].reshape(3, 3).T  # rows: right, up, backward
    return Camera(focal, (size / 2, size / 2), np.diag([1.0, -1.0, -1.0]) @ axes, np.array(data.cam_xpos[0]))


def _box(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32] | None:
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], np.float32)


def _at_edge(mask: npt.NDArray[np.bool_]) -> bool:
    return bool(mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())


def _quaternion(rotation: Array) -> npt.NDArray[np.float64]:
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.asarray(rotation, np.float64).ravel())
    return quaternion


def _text(values: Array | Sequence[float]) -> str:
    return " ".join(f"{value:.9g}" for value in np.asarray(values).ravel())


def _base() -> ElementTree.Element:
    return ElementTree.fromstring(files("worldrl.envs").joinpath("assets/scene.xml").read_text())
