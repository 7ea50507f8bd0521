"""Put a run on one page that works offline: figures, curves, videos, and what was hallucinated."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import MISSING

from worldrl.recipes.options import check_threads, option
from worldrl.recipes.results import Result


@dataclass
class Config:
    """Options of ``worldrl report``."""

    run: str = option(MISSING, "folder that worldrl demo, train, evolve, or a stage, wrote")
    episodes: str = option("", "data set of its world, or of one a task, where that lies elsewhere")
    observation: str = option("", "observation pipeline of it, likewise")
    policy: str = option("", "policy that acts in its world, where that lies elsewhere")
    out: str = option("", "the page, HTML; empty for report.html in the run's folder")
    fresh: bool = option(True, "measure the world again; false for the figures that report.json beside the page keeps")
    seed: int = option(0, "of the imagination that is measured")
    threads: int = option(0, "threads of torch; 0 leaves them alone")

    def check(self) -> None:
        """Refuse options out of range."""
        check_threads(self.threads)


def run(config: Config) -> Result:
    """Read the run, measure its world, and write the page."""
    import json

    from worldrl import checkpoint
    from worldrl.errors import WorldRLError
    from worldrl.recipes.parts import use_threads
    from worldrl.recipes.reporting import figures, measured, page, places, sections

    use_threads(config.threads)
    at = places.find(Path(config.run), episodes=config.episodes, observation=config.observation, policy=config.policy)
    found, told = figures.read(at), dict[str, Any]()
    out = Path(config.out) if config.out else at.folder / "report.html"
    kept = out.with_suffix(".json")
    if not config.fresh:
        told = checkpoint.read_json(kept) if kept.is_file() else {}
    elif at.worlds:
        for task in at.worlds:
            try:
                told[task] = measured.measure(at, task, seed=config.seed)
            except WorldRLError as error:
                told[task] = {"problem": str(error)}
        out.parent.mkdir(parents=True, exist_ok=True)
        told = json.loads(json.dumps(told), parse_constant=lambda _: None)
        checkpoint.write_json(kept, told)
    page.write(out, sections.report(found, told))
    size = out.stat().st_size
    told_where = {"figures": kept} if told else {}
    return Result(
        f"report: {out}, {size / 2**20:.1f} MB", {"out": out, "bytes": size} | told_where | {"measured": told}
    )
