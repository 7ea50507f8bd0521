"""Jobs of the studies, and how one is run: ``python -m worldrl.recipes.studies.jobs SPEC.json``."""

import sys
from importlib import import_module
from pathlib import Path

from worldrl.recipes.jobs import Options, work
from worldrl.recipes.studies.grid import SHARED, options_of
from worldrl.recipes.studies.stock import SPLITS, Stock


def make_scenes(folder: Path, options: Options) -> Options:
    """Draw the labelled scenes of a split: training ones of base classes, the others of all."""
    from worldrl.recipes.scenes import make
    from worldrl.scene import BASE, NAMES

    split, pool = options["split"], options["pool"]
    make(
        folder / "set", count=pool[split], seed=len(SPLITS) * pool["seed"] + SPLITS.index(split), size=pool["size"],
        names=BASE if split == "train" else NAMES, shifted=split == "shift",
    )  # fmt: skip
    return {}


def make_features(folder: Path, options: Options) -> Options:
    """Compute the features of a split, each frame once."""
    features = Stock(folder.parent).features(options["what"], options["split"])
    return {"shape": list(features.patches.shape)}


def make_towers(folder: Path, options: Options) -> Options:
    """Fit two towers to captions of base classes, and freeze them."""
    from worldrl.recipes.studies.towers import make

    make(folder / "model", stock=Stock(folder.parent), kind=options["what"], seed=options["seed"])
    return {}


def make_dense(folder: Path, options: Options) -> Options:
    """Compute what frozen towers say of every place of scenes."""
    from worldrl.recipes.studies.dense import make

    make(folder / "model", stock=Stock(folder.parent), kind=options["what"], seed=options["seed"])
    return {}


def make_language_model(folder: Path, options: Options) -> Options:
    """Fit a language model to captions, and freeze it."""
    from worldrl.recipes.studies.language_model import make

    make(folder / "model", stock=Stock(folder.parent), what=options["what"], seed=options["seed"])
    return {}


def make_world(folder: Path, options: Options) -> Options:
    """Record a robot's task, fit a world model to it and clone the expert."""
    from worldrl.recipes.studies.worlds import make

    make(folder / "model", stock=Stock(folder.parent), what=options["what"], seed=options["seed"])
    return {}


def run_cell(folder: Path, options: Options) -> Options:
    """Run an arm with a seed and return its figures."""
    study = options["study"]
    run = import_module(f"worldrl.recipes.studies.{study}").run
    given, stock = options_of(study, options["options"]), Stock(folder.parents[1] / SHARED)
    return {"figures": run(given, seed=options["seed"], stock=stock, folder=folder)}


def main(spec: str) -> None:
    """Run one job."""
    work(
        spec,
        {
            "scenes": make_scenes, "features": make_features, "towers": make_towers, "dense": make_dense,
            "language_model": make_language_model, "world": make_world, "cell": run_cell,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
