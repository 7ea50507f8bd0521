"""What a run shows: videos, hallucinated successes, its data, and the commands that repeat it."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from worldrl.recipes.reporting import commands, page, wording
from worldrl.recipes.reporting.figures import Run, redacted

ROOM = 11 * 2**20
"""Bytes of videos in the page, before base64 makes them a third more: the whole stays below 15 MB."""


def videos(run: Run) -> str:
    """Real beside imagined, under the same actions."""
    how = (
        "MuJoCo on the left; on the right the same actions imagined from the same start, drawn by a small decoder. "
        "Good: both move alike and turn green together. Bad: imagination turns green alone."
    )
    found = sorted((run.folder / "videos").glob("side_by_side_*.mp4"))
    if not found:
        lacks = page.missing("There are no videos side by side.", commands.of(run.folder, "record"))
        return page.section("videos", "Side by side", how, lacks)
    drawn, left = [], ROOM
    for path in found:
        size, name = path.stat().st_size, escape(path.stem.removeprefix("side_by_side_"))
        if size > left:
            drawn.append(page.missing(f"{path.name} is too large for this page ({size / 2**20:.0f} MB): see videos/."))
            continue
        left -= size
        source = f"data:video/mp4;base64,{_base64(path)}"
        drawn.append(
            f'<figure><video controls muted loop playsinline preload="metadata" {_poster(path)}src="{source}"></video>'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return page.section("videos", "Side by side", how, f'<div class="pair">{"".join(drawn)}</div>')


def invented(run: Run, measured: dict[str, Any] | None) -> str:
    """Imagined successes that fail in MuJoCo, the surest first."""
    how = (
        "The policy acts in imagination from held-out starts; its actions are then taken in MuJoCo from the same "
        "states. Shown are the surest imagined successes that fail there: imagined above, real below. Good: there "
        "are none. Bad: many, or sure ones. The replay is open loop, so that a policy that would have mended its "
        "ways counts as failing."
    )
    title, found = "The worst hallucinated successes", (measured or {}).get("hallucinations")
    if found is None:
        verb = "fit" if run.world is None else "report"
        lacks = page.missing("Imagined successes were not replayed.", commands.of(run.folder, verb))
        return page.section("hallucinations", title, how, lacks)
    false, imagined = found["false_success"], found["imagined_success"]
    text = f"{found['policy']}: {imagined['count']} of {imagined['trials']} episodes succeed in imagination; "
    text += f"{false['count']} of these {false['trials']} fail in MuJoCo"
    text += f" ({wording.percent(false['share'])} {wording.span(false['interval'])})." if false["trials"] else "."
    drawn = [
        f"<figure>{_picture(one)}<figcaption>Start {one['seed']}: probability of success {one['probability']:.2f}, "
        f"{one['steps']} steps; MuJoCo: fails.</figcaption></figure>"
        for one in found["worst"]
    ]
    return page.section("hallucinations", title, how, f"<p>{escape(text)}</p>", *drawn)


def repeating(run: Run) -> str:
    """What the run was made from, and the commands that make it again."""
    how = "What this run was made from. Good: the same commands give the same data hash and the same figures."
    parts, summary = [], run.summary or {}
    counts = [
        ("real steps collected", summary.get("real_steps_collected")),
        ("imagined steps", (run.refinement or {}).get("imagined_steps")),
        ("real steps during refinement", (run.refinement or {}).get("real_steps_during_refinement")),
        ("seconds", summary.get("seconds_total")),
    ]
    parts.append(page.tiles((name, f"{value:,.0f}", "") for name, value in counts if value is not None))
    parts.append("<h3>Data</h3>" + _data(run))
    if run.config is None:
        parts.append(page.missing("This folder keeps no config of a whole run.", commands.of(run.folder, "demo")))
    else:
        config = redacted(run.config)
        parts.append("<h3>The command</h3><pre>" + escape(commands.demo(config)) + "</pre>")
        parts.append(wording.details("stage by stage", "<pre>" + escape("\n".join(commands.stages(config))) + "</pre>"))
        parts.append(wording.details("config", page.rows(("option", "value"), _flat(config))))
    if summary.get("versions"):
        parts.append(wording.details("versions", page.rows(("package", "version"), summary["versions"].items())))
    return page.section("repeating", "Data, config and how to repeat it", how, *parts)


def _data(run: Run) -> str:
    if run.data is None:
        return page.missing("There is no data set in this folder.", commands.of(run.folder, "collect"))
    if "problem" in run.data:
        return page.missing(f"The data set cannot be read: {run.data['problem']}.")
    kinds = run.data["policies"].items()
    rows = [(who, one["episodes"], f"{one['steps']:,}", one["successes"]) for who, one in kinds]
    total = f"<p>{run.data['steps']:,} steps, hash <code>{escape(run.data['hash'])}</code></p>"
    return page.rows(("who acted", "episodes", "steps", "successful"), rows) + total


def _picture(one: dict[str, Any]) -> str:
    if one["picture"] is None:
        return page.missing("No decoder draws this world.")
    return f'<img alt="imagined above, real below" src="data:image/png;base64,{escape(str(one["picture"]))}">'


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", str(value))]
    return rows


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()


def _poster(path: Path) -> str:
    """Return the first frame of a video, from the gif beside it, as an attribute; nothing where there is none."""
    import io

    from PIL import Image

    if not path.with_suffix(".gif").is_file():
        return ""
    file = io.BytesIO()
    with Image.open(path.with_suffix(".gif")) as gif:
        gif.convert("RGB").save(file, "PNG")
    return f'poster="data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}" '
