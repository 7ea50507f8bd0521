"""Put a run on one page that works offline: figures, curves, videos, and what was hallucinated."""

from dataclasses import dataclass
from pathlib import Path

from omegaconf import MISSING

from worldrl.recipes.options import check_threads, option
from worldrl.recipes.results import Result


@dataclass
class Config:
    """Options of ``worldrl report``."""

    run: str = option(MISSING, "folder that worldrl demo, or a stage, wrote")
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
    from worldrl.recipes.reporting import figures, measured, page, sections

    use_threads(config.threads)
    found = figures.read(Path(config.run))
    out = Path(config.out) if config.out else found.folder / "report.html"
    kept, told = out.with_suffix(".json"), None
    if not config.fresh:
        told = checkpoint.read_json(kept) if kept.is_file() else None
    elif found.world is not None:
        try:
            told = measured.measure(found.world, found.folder, seed=config.seed)
        except WorldRLError as error:
            told = {"problem": str(error)}
        out.parent.mkdir(parents=True, exist_ok=True)
        checkpoint.write_json(kept, json.loads(json.dumps(told), parse_constant=lambda _: None))
    page.write(out, sections.report(found, told))
    size = out.stat().st_size
    told_where = {"figures": kept} if told is not None else {}
    return Result(
        f"report: {out}, {size / 2**20:.1f} MB", {"out": out, "bytes": size} | told_where | {"measured": told}
    )
