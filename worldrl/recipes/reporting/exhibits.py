"""What a run shows: videos, hallucinated successes, its data, and the commands that repeat it."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from worldrl.recipes.reporting import commands, page, wording
from worldrl.recipes.reporting.figures import Run, redacted

VERBS = {"run": "demo", "online": "train", "evolution": "evolve"}
"""Kinds of runs that one command makes, and its verb."""
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
        lacks = page.missing("There are no videos side by side.", commands.of(run, "record"))
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


def invented(run: Run, measured: dict[str, Any] | None, task: str = "") -> str:
    """Imagined successes that fail in MuJoCo, the surest first."""
    how = (
        "The policy acts in imagination from held-out starts; its actions are then taken in MuJoCo from the same "
        "states. Shown are the surest imagined successes that fail there: imagined above, real below. Good: there "
        "are none. Bad: many, or sure ones. The replay is open loop, so that a policy that would have mended its "
        "ways counts as failing."
    )
    name, title = page.named("hallucinations", "The worst hallucinated successes", task)
    found = (measured or {}).get("hallucinations")
    if found is None and measured is not None and "problem" not in measured:
        lacks = page.missing(
            "No policy here sees what the world sees, so that nobody could act in it: name one by policy=."
        )
        return page.section(name, title, how, lacks)
    if found is None:
        verb = "report" if run.places.worlds else "fit"
        does = "replays them" if verb == "report" else "makes a world"
        lacks = page.missing("Imagined successes were not replayed.", commands.of(run, verb), does)
        return page.section(name, title, how, lacks)
    false, imagined = found["false_success"], found["imagined_success"]
    text = f"{found['policy']}: {imagined['count']} of {imagined['trials']} episodes succeed in imagination"
    text += f"; {false['count']} of these {false['trials']} fail in MuJoCo" if false["trials"] else ""
    text += f" ({wording.percent(false['share'])} {wording.span(false['interval'])})." if false["trials"] else "."
    drawn = [
        f"<figure>{_picture(one)}<figcaption>Start {one['seed']}: probability of success {one['probability']:.2f}, "
        f"{one['steps']} steps; MuJoCo: fails.</figcaption></figure>"
        for one in found["worst"]
    ]
    return page.section(name, title, how, f"<p>{escape(text)}</p>", *drawn)


def repeating(run: Run) -> str:
    """What the run was made from, and the commands that make it again."""
    how = "What this run was made from. Good: the same commands give the same data hash and the same figures."
    parts, summary = [], run.summary or {}
    counts = [
        ("real steps collected", summary.get("real_steps_collected")),
        ("real steps", summary.get("real_steps")),
        ("imagined steps", (run.refinement or summary).get("imagined_steps")),
        ("real steps during refinement", (run.refinement or {}).get("real_steps_during_refinement")),
        ("seconds", summary.get("seconds_total")),
    ]
    parts.append(page.tiles((name, f"{value:,.0f}", "") for name, value in counts if value is not None))
    parts += [f"<h3>{escape(f'Data {task}'.rstrip())}</h3>{_data(data)}" for task, data in run.data.items()]
    if not run.data and run.places.kind != "online":  # which keeps none
        parts.append(_no_data(run))
    if run.config is not None:
        verb, config = VERBS[run.places.kind], redacted(run.config)
        parts.append("<h3>The command</h3><pre>" + escape(commands.whole(verb, config)) + "</pre>")
        if verb == "demo":
            stages = escape("\n".join(commands.stages(config)))
            parts.append(wording.details("stage by stage", f"<pre>{stages}</pre>"))
        parts.append(wording.details("every option", page.rows(("option", "value"), _flat(config))))
    elif run.places.kind == "run":
        parts.append(page.missing("It keeps no options of a whole run: its stages were called one by one."))
    if run.facts:
        parts.append(wording.details("what is noted with it", page.rows(("what", "value"), _flat(run.facts))))
    if summary.get("versions"):
        parts.append(wording.details("versions", page.rows(("package", "version"), summary["versions"].items())))
    return page.section("repeating", "Data, config and how to repeat it", how, *parts)


def _no_data(run: Run) -> str:
    if run.places.kind == "run":
        return page.missing("There is no data set in this folder.", commands.of(run, "collect"))
    return page.missing("Its data set lies elsewhere.", commands.of(run, "report"), "shows it")


def _data(data: Mapping[str, Any]) -> str:
    if "problem" in data:
        return page.missing(f"The data set cannot be read: {data['problem']}.")
    kinds = data["policies"].items()
    rows = [
        (who, one["episodes"], f"{one['steps']:,}", "not known" if one["successes"] is None else one["successes"])
        for who, one in kinds
    ]
    total = f"<p>{data['steps']:,} steps, hash <code>{escape(data['hash'])}</code></p>"
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
