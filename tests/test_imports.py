"""Imports point one way, and nothing that is read can run code."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

FOUNDATION = {
    "", "allocation", "curves", "errors", "types", "scene", "json_file", "torch_file", "writable", "checkpoint",
    "clusters", "disk", "downloads", "locks", "networks", "resuming", "signals", "symlog",
}  # fmt: skip
"""What every room may use; ``""`` is the package itself, for its version."""

ALLOWED: dict[str, set[str]] = {
    "": {"envs"},
    "allocation": set(),
    "errors": set(),
    "types": set(),
    "scene": {"errors", "types"},
    "json_file": {"errors"},
    "writable": {"errors"},
    "torch_file": {"errors"},
    "cards": set(),
    "downloads": {"errors"},
    "disk": {"", "locks"},
    "checkpoint": {"", "errors", "cards", "disk", "downloads", "json_file"},
    "facts": {"", "cards", "checkpoint", "downloads"},
    "verification": {"errors", "checkpoint"},
    "hub": {"", "errors", "checkpoint", "downloads", "verification"},
    "clusters": set(),
    "curves": set(),
    "locks": {"errors"},
    "networks": set(),
    "resuming": {"", "checkpoint", "curves", "errors", "signals"},
    "signals": {"errors"},
    "symlog": set(),
    "data": FOUNDATION,
    "encoders": FOUNDATION | {"data"},
    "objects": FOUNDATION | {"data", "encoders"},
    "diffusion": FOUNDATION,
    "observation": FOUNDATION | {"encoders", "objects", "observation_fit"},
    "observation_fit": FOUNDATION | {"encoders", "objects"},
    "frame_observation": FOUNDATION,
    "world_model": FOUNDATION | {"data", "encoders", "objects", "diffusion"},
    "storm": FOUNDATION | {"data"},
    "evaluation": FOUNDATION | {"data", "encoders", "objects", "diffusion", "world_model", "observation"},
    "perception": FOUNDATION | {"data", "encoders"},
    "language": FOUNDATION | {"data", "encoders"},
    "envs": {"", "errors", "types", "scene"},
    "agents": FOUNDATION | {"objects"},
    "player": FOUNDATION | {"data", "envs", "evaluation"},
    "configs": set(),
    "shipped": {"errors"},
}
EVERYTHING = {"recipes", "cli"}

BANNED_MODULES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal", "torch.hub"}
BANNED_NAMES = {"eval", "exec"}
BANNED_CALLS = {"torch.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle"}
SB3_MODELS = {"PPO", "SAC", "TD3", "DDPG", "DQN", "A2C", "HerReplayBuffer", "BaseAlgorithm"}
WEIGHTS_READER = "worldrl/torch_file.py"
"""The one file that may call ``torch.load``, with ``weights_only=True``."""


def sources() -> list[Path]:
    return [path for folder in ("worldrl", "envs", "agents") for path in real_files(ROOT / folder)]


def real_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files of a folder; the links inside ``worldrl/`` lead to what is listed by itself."""
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            yield from real_files(path)
        elif path.suffix == ".py":
            yield path


def room(path: Path) -> str:
    """Return the room of a file: ``data`` of ``worldrl/data/episode.py``, ``types`` of ``worldrl/types.py``."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    name = parts[1] if parts[0] == "worldrl" else parts[0]
    return "" if name == "__init__" else name


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that is imported, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_used(tree: ast.AST) -> set[str]:
    known = set(ALLOWED) | EVERYTHING
    parts = [name.split(".") for name in imported(tree) if name.split(".")[0] == "worldrl"]
    return {part[1] if len(part) > 1 and part[1] in known else "" for part in parts}


def dangers(code: str, *, reads_weights: bool = False) -> list[str]:
    """Return the ways in which a source could run code that it reads, each as a few words."""
    tree = ast.parse(code)
    found = [name for name in imported(tree) if any(f"{name}.".startswith(f"{ban}.") for ban in BANNED_MODULES)]
    aliases = {
        alias.asname or alias.name: f"{getattr(node, 'module', '') or ''}.{alias.name}".lstrip(".")
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in BANNED_NAMES:
            found.append(node.id)
        if isinstance(node, ast.Call):
            found += dangers_of_call(node, aliases, reads_weights=reads_weights)
    return found


def dangers_of_call(call: ast.Call, aliases: dict[str, str], *, reads_weights: bool) -> list[str]:
    head, dot, rest = ast.unparse(call.func).partition(".")
    name = aliases.get(head, head) + dot + rest
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name == "torch.load" and reads_weights and keywords.get("weights_only") == "True":
        return []
    banned = name in BANNED_CALLS or any(f"{name}.".startswith(f"{module}.") for module in BANNED_MODULES)
    unpickles = name.endswith(".load") and name.split(".")[-2] in SB3_MODELS
    allows = keywords.get("allow_pickle", "False") != "False"
    return [name] if banned or unpickles or allows else []


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_room_imports_only_what_lies_below_it(path: Path) -> None:
    here = room(path)
    if here in EVERYTHING:
        return
    assert here in ALLOWED, f"{path} is in a room that the table does not have"
    beyond = rooms_used(ast.parse(path.read_text())) - ALLOWED[here] - {here}
    assert not beyond, f"{path.relative_to(ROOT)} imports {', '.join(sorted(beyond))}"


def test_the_table_has_no_circle() -> None:
    below = {name: rooms - {name} for name, rooms in ALLOWED.items() if name}
    while below:
        leaves = {name for name, rooms in below.items() if not rooms & set(below)}
        assert leaves, f"a circle among {', '.join(sorted(below))}"
        below = {name: rooms for name, rooms in below.items() if name not in leaves}


def test_every_form_of_import_is_seen() -> None:
    code = "def f():\n    from worldrl import data\n    import worldrl.envs.x\n    from worldrl.agents import y\n"
    assert rooms_used(ast.parse(code + "from worldrl import __version__")) == {"data", "envs", "agents", ""}


@pytest.mark.fault(8, 9)
@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_that_is_read_can_run_code(path: Path) -> None:
    reads_weights = str(path.relative_to(ROOT)) == WEIGHTS_READER
    assert not dangers(path.read_text(), reads_weights=reads_weights)


@pytest.mark.fault(8)
@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from joblib import load",
        "import torch\ntorch.load(f)",
        "import torch\ntorch.load(f, weights_only=True)",
        "import torch as t\nt.load(f)",
        "from torch import load\nload(f)",
        "import torch\ntorch.hub.load(f)",
        "eval('1')",
        "register('eval', eval)",
        "import yaml\nyaml.load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=True)",
        "import numpy as np\nnp.load(f, allow_pickle=flag)",
        "from stable_baselines3 import PPO\nPPO.load(f)",
    ],
)
def test_each_dangerous_form_is_found(code: str) -> None:
    assert dangers(code)


@pytest.mark.parametrize(
    "code",
    [
        "import torch\ntorch.load(f, weights_only=True)",
        "import yaml\nyaml.safe_load(f)",
        "import numpy as np\nnp.load(f, allow_pickle=False)",
        "model.eval()",
        "from worldrl import checkpoint\ncheckpoint.load(f)",
    ],
)
def test_harmless_neighbours_pass(code: str) -> None:
    assert not dangers(code, reads_weights=True)
