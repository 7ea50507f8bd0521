"""The table of a study, its pictures and its JSON, of whatever cells there are."""

import json
from math import sqrt
from pathlib import Path
from typing import Any

import numpy as np

from worldrl import checkpoint
from worldrl.evaluation.intervals import mean_over_seeds
from worldrl.recipes.studies.grid import Cell, Study
from worldrl.recipes.studies.stock import Figures
from worldrl.recipes.table import markdown

Found = dict[tuple[str, int], Figures]
"""What cells found, by arm and seed."""


def write(root: Path, results: Path, study: Study, wanted: list[Cell], done: set[str]) -> str:
    """Write ``NAME.json``, ``NAME.md`` and, where there are pictures, ``NAME.png``, and return the text.

    Args:
        root: Run folder of the study.
        results: Folder of the three.
        study: What it is.
        wanted: Every cell there should be.
        done: Names of those that are done with today's options.
    """
    found = {(cell.study, cell.seed): _figures(root, cell) for cell in wanted if cell.name in done}
    missing = [cell.name for cell in wanted if cell.name not in done]
    results.mkdir(parents=True, exist_ok=True)
    record = {
        "title": study.title,
        "rows": [{"arm": arm, "seed": seed, **figures} for (arm, seed), figures in found.items()],
        "differences": _differences(study, found),
        "notes": list(study.notes),
        "missing": missing,
        "made_by": f"worldrl experiment {study.name}",
    }
    checkpoint.write_json(results / f"{study.name}.json", record)
    pictured = _picture(root, results, study, wanted)
    text = "\n\n".join(part for part in _parts(study, found, wanted, missing, pictured) if part)
    (results / f"{study.name}.md").write_text(text + "\n")
    return text


def _parts(study: Study, found: Found, wanted: list[Cell], missing: list[str], pictured: bool) -> list[str]:
    seeds = sorted({cell.seed for cell in wanted})
    made = (
        f"{len(found)} of {len(wanted)} cells are done ({len(study.arms)} arms, seeds {', '.join(map(str, seeds))}). "
        f"Made by `worldrl experiment {study.name}`, which goes on where it was stopped."
    )
    return [
        f"# {study.title}",
        _table(study, found),
        _told_differences(study, found),
        "\n".join(f"- {note}" for note in study.notes),
        f"![{study.title}]({study.name}.png)" if pictured else "",
        made,
        f"Missing: {', '.join(missing)}." if missing else "",
    ]


def _table(study: Study, found: Found) -> str:
    rows = []
    for arm in study.arms:
        of = [figures for (name, _), figures in found.items() if name == arm]
        if of:
            rows.append((arm, len(of), *(_shown(of, figure, study) for figure in study.figures)))
    return markdown(("arm", "seeds", *study.figures.values()), rows) if rows else ""


def _shown(of: list[Figures], figure: str, study: Study) -> str:
    """Return a figure's mean over seeds and its 95 % interval; a dash where nobody has it."""
    values = [study.shown(figure, float(figures[figure])) for figures in of if figures.get(figure) is not None]
    if not values:
        return "-"
    if len(set(values)) < 2:
        return f"{values[0]:,.0f}" if values[0].is_integer() else _told(values[0])
    one = mean_over_seeds(values)
    return f"{_told(one.mean)} [{_told(one.interval.low)}, {_told(one.interval.high)}]"


def _told(value: float) -> str:
    """Return a number with three digits or so."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}" if abs(value) >= 5 else f"{value:.2f}"


def _differences(study: Study, found: Found) -> list[dict[str, Any]]:
    """Return the paired differences that the study wants told, of the seeds that both arms have."""
    rows = []
    for arm, baseline, figure in study.pairs:
        seeds = sorted(
            {seed for name, seed in found if name == arm} & {seed for name, seed in found if name == baseline}
        )
        both = [(found[arm, seed].get(figure), found[baseline, seed].get(figure)) for seed in seeds]
        gains = [float(one) - float(other) for one, other in both if one is not None and other is not None]
        if len(gains) < 2:
            continue
        error = float(np.std(gains, ddof=1)) / sqrt(len(gains))
        mean = float(np.mean(gains))
        verdict = "no difference" if abs(mean) <= 2.0 * error else ("more" if mean > 0 else "less")
        rows.append(
            {
                "arm": arm, "baseline": baseline, "figure": figure, "seeds": len(gains), "mean": mean,
                "standard_error": error, "by_seed": gains, "verdict": verdict,
            }
        )  # fmt: skip
    return rows


def _told_differences(study: Study, found: Found) -> str:
    rows = []
    for row in _differences(study, found):
        heading = study.figures.get(row["figure"], row["figure"])
        mean, error = (study.shown(row["figure"], row[name]) for name in ("mean", "standard_error"))
        words, sign = f"{row['arm']} against {row['baseline']}", "+" if mean >= 0 else "-"
        gain = f"{sign}{_told(abs(mean))} ± {_told(2 * error)}"
        rows.append((words, heading, row["seeds"], gain, row["verdict"]))
    header = ("what", "figure", "seeds", "difference ± two standard errors", "verdict")
    return markdown(header, rows) if rows else ""


def _picture(root: Path, results: Path, study: Study, wanted: list[Cell]) -> bool:
    """Put the pictures of the first seed one below the other; what an earlier run drew stays where there are none.

    Returns:
        Whether there is a picture.
    """
    import imageio.v3 as iio

    file = results / f"{study.name}.png"
    first = min(cell.seed for cell in wanted)
    paths = [root / "cells" / f"{arm}-{first}" / "picture.png" for arm in study.pictured or study.arms]
    drawn = [np.asarray(iio.imread(path))[..., :3] for path in paths if path.exists()]
    if drawn:
        width = max(one.shape[1] for one in drawn)
        padded = [np.pad(one, ((0, 0), (0, width - one.shape[1]), (0, 0)), constant_values=255) for one in drawn]
        iio.imwrite(file, np.concatenate(padded))
    return file.exists()


def _figures(root: Path, cell: Cell) -> Figures:
    return dict(json.loads((root / "cells" / cell.name / "done.json").read_text())["figures"])
