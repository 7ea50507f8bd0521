"""The sections of the page, in the order in which a run is to be judged."""

import base64
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from worldrl.recipes.reporting import charts, commands, page
from worldrl.recipes.reporting.figures import Run, redacted

ROOM = 11 * 2**20
"""Bytes of videos in the page, before base64 makes them a third more: the whole stays below 15 MB."""


def report(run: Run, measured: dict[str, Any] | None) -> str:
    """Return the page of a run; ``measured`` is what ``measured.measure`` found, None where nothing was."""
    summary = run.summary or {}
    line = ", ".join(
        str(one) for one in (summary.get("task"), _masks(run), _seed(summary), "made by worldrl report") if one
    )
    title = f"Run {run.folder.resolve().name}"
    parts = (success(run), gap(run), learning(run), fidelity(run, measured), videos(run), invented(run, measured))
    return page.page(title, line, [*parts, repeating(run)])


def success(run: Run) -> str:
    """Success in MuJoCo, before and after, the imagined figure and the gap beside it."""
    how = (
        "Success is measured in MuJoCo, on held-out starts that are the same for both policies. Good: the gain's interval "
        "lies above 0. Bad: it holds 0, or imagined success stands far above the real one (a large gap)."
    )
    reports = (run.evaluation or {}).get("reports") or []
    if not reports:
        what = page.missing("Success was not measured in MuJoCo.", commands.of(run.folder, "evaluate"))
        return page.section("success", "Success in MuJoCo", how, what)
    gains = (run.evaluation or {}).get("gains") or []
    shown = [(str(one["policy"]), percent(one["success"]), f"95 %: {_range(one['interval'])}") for one in reports]
    shown += [("paired gain", f"{100 * one['mean']:+.1f}", f"points, 95 %: {_points(one)}") for one in gains]
    rows = [
        (
            one["policy"], f"{percent(one['success'])} {_range(one['interval'])}", percent(one["imagined_success"]),
            _signed(one["gap"]), f"masks: {one['masks']}", one["encoder"], one["episodes"], f"{one['mean_length']:.1f}",
        )
        for one in reports
    ]  # fmt: skip
    head = ("policy", "MuJoCo (95 %)", "imagined", "gap (points)", "masks", "encoder", "episodes", "mean steps")
    bars: list[tuple[str, float, float | None, float | None]] = []
    for one in reports:
        low, high = one["interval"]["low"], one["interval"]["high"]
        bars.append((f"{one['policy']}: in MuJoCo", one["success"], low, high))
        if one["imagined_success"] is not None:
            bars.append((f"{one['policy']}: imagined", one["imagined_success"], None, None))
    chart = charts.intervals(bars, across="success, line: 95 % interval")
    return page.section(
        "success", "Success in MuJoCo", how, page.tiles(shown), chart, page.rows(head, rows), _said(run)
    )


def gap(run: Run) -> str:
    """What imagination promised over refinement, and what was measured."""
    how = (
        "Imagined success of each candidate, in the order in which PPO made them. It is a promise: the points with "
        "intervals are MuJoCo. Good: the points lie on the line. Bad: the line climbs and the points stay below."
    )
    title, candidates = "Imagined and real success over refinement", (run.refinement or {}).get("candidates") or []
    if not candidates:
        lacks = page.missing("Nothing was refined here.", commands.of(run.folder, "refine"))
        return page.section("gap", title, how, lacks)
    told, marks = run.refinement or {}, _marks(run)
    line = {"imagined success": [(one["steps"], one["success"]) for one in candidates]}
    chart = charts.lines(line, across="imagined steps", up="success", top=1.0, dots=True, marks=marks)
    head = ("steps", "imagined success", "halted", "decisions", "nats away", "believed", "")
    rows = [
        (
            f"{one['steps']:,}", percent(one["success"]), percent(one["halted"]), _number(one["length"]),
            _number(one["divergence"]), "yes" if one["believed"] else "no",
            "kept" if one["steps"] == told["kept_after_steps"] else "",
        )
        for one in candidates
    ]  # fmt: skip
    note = "" if marks else page.missing("No candidate was measured in MuJoCo.", commands.of(run.folder, "evaluate"))
    some = ""
    if marks and not told.get("checkpoints"):
        some = "<p class='soft'>Only the first and the kept candidate were measured; <code>refine checkpoints=4</code> "
        some += "saves others, which <code>evaluate</code> takes like any policy.</p>"
    return page.section("gap", title, how, chart, note, some, _details("every candidate", page.rows(head, rows)))


def learning(run: Run) -> str:
    """The losses of every stage that learnt."""
    how = (
        "The loss of each stage over its gradient steps. Good: it falls and levels off. Bad: it rises, jumps, or still "
        "falls at the end (more steps would help). Low loss alone proves nothing about success."
    )
    if not run.curves:
        lacks = page.missing(
            "No losses were kept: the run is older than NAME.curves.json.", commands.of(run.folder, "demo")
        )
        return page.section("learning", "Learning curves", how, lacks)
    drawn = [
        f"<div><h3>{escape(label)}</h3>{charts.lines({'loss': points}, across='gradient steps', up='loss', low=_floor(points))}</div>"
        for label, points in run.curves.items()
    ]
    return page.section("learning", "Learning curves", how, f'<div class="pair">{"".join(drawn)}</div>')


def fidelity(run: Run, measured: dict[str, Any] | None) -> str:
    """How far the world's predictions hold."""
    how = (
        "Held-out episodes, imagined open loop under their recorded actions. Good: the error stays below that of no "
        "change, disagreement below 1 (where episodes are halted). Bad: it crosses either, or judges failures as successes."
    )
    title = "How far the world can be trusted"
    if run.world is None:
        return page.section("fidelity", title, how, page.missing("There is no world.", commands.of(run.folder, "fit")))
    parts = [_known(run.known)]
    if measured is None or "problem" in measured:
        why = (
            "Nothing was measured for this page." if measured is None else f"It was not measured: {measured['problem']}"
        )
        return page.section("fidelity", title, how, *parts, page.missing(why, commands.of(run.folder, "report")))
    found = measured["horizon"]
    if found is None:
        parts.append(page.missing("No held-out episode is long enough to be imagined."))
    else:
        errors = {"world": _steps(found["model"]), "no change": _steps(found["repeat_last"])}
        apart = {"mean": _steps(found["apart"]), "90 % quantile": _steps(found["apart_most"]),
                 "halted above": [(1, 1.0), (max(2, found["steps"]), 1.0)]}  # fmt: skip
        parts.append(
            '<div class="pair"><div><h3>Error by horizon</h3>'
            + charts.lines(errors, across="imagined steps", up="mean squared error")
            + "</div><div><h3>Disagreement along rollouts</h3>"
            + charts.lines(apart, across="imagined steps", up="in units of the halting threshold")
            + f"</div></div><p class='soft'>{found['segments']} segments of {measured['episodes']} held-out episodes.</p>"
        )
    parts.append("<h3>Judgement of replayed episodes</h3>" + _confusion(measured))
    return page.section("fidelity", title, how, *parts)


def videos(run: Run) -> str:
    """Real beside imagined, under the same actions."""
    how = (
        "MuJoCo on the left; on the right the same actions imagined from the same start, drawn by a small decoder. Good: "
        "both move alike and turn green together. Bad: imagination turns green alone."
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
            f'<figure><video controls muted loop playsinline preload="metadata" src="{source}"></video>'
            f"<figcaption>{name}</figcaption></figure>"
        )
    return page.section("videos", "Side by side", how, f'<div class="pair">{"".join(drawn)}</div>')


def invented(run: Run, measured: dict[str, Any] | None) -> str:
    """Imagined successes that fail in MuJoCo, the surest first."""
    how = (
        "The policy acts in imagination from held-out starts; its actions are then taken in MuJoCo from the same states. "
        "Shown are the surest imagined successes that fail there: imagined above, real below. Good: there are none. Bad: "
        "many, or sure ones. The replay is open loop, so that a policy that would have mended its ways counts as failing."
    )
    title, found = "The worst hallucinated successes", (measured or {}).get("hallucinations")
    if found is None:
        verb = "fit" if run.world is None else "report"
        lacks = page.missing("Imagined successes were not replayed.", commands.of(run.folder, verb))
        return page.section("hallucinations", title, how, lacks)
    false, imagined = found["false_success"], found["imagined_success"]
    text = f"{found['policy']}: {imagined['count']} of {imagined['trials']} episodes succeed in imagination; "
    text += f"{false['count']} of these {false['trials']} fail in MuJoCo"
    text += f" ({percent(false['share'])} {_range(false['interval'])})." if false["trials"] else "."
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
        parts.append(_details("stage by stage", "<pre>" + escape("\n".join(commands.stages(config))) + "</pre>"))
        parts.append(_details("config", page.rows(("option", "value"), _flat(config))))
    if summary.get("versions"):
        parts.append(_details("versions", page.rows(("package", "version"), summary["versions"].items())))
    return page.section("repeating", "Data, config and how to repeat it", how, *parts)


def percent(share: float | None) -> str:
    """Return a share as per cent; a dash where there is none."""
    return "-" if share is None else f"{100 * share:.1f} %"


def _marks(run: Run) -> list[tuple[float, float, float, float, str]]:
    """Return what MuJoCo said of policies whose place in refinement is known."""
    told = run.refinement or {}
    places = {"clone": 0, "refined": told.get("kept_after_steps", 0)}
    marks = []
    for one in (run.evaluation or {}).get("reports") or []:
        name = str(one["policy"])
        step = name.rsplit("-at-", 1)[-1] if "-at-" in name else ""
        place = int(step) if step.isdecimal() else places.get(name)
        if place is not None:
            low, high = one["interval"]["low"], one["interval"]["high"]
            marks.append((float(place), one["success"], low, high, f"{name} in MuJoCo"))
    return marks


def _known(known: dict[str, Any] | None) -> str:
    """Return what ``worldrl fit`` said of its world."""
    if known is None:
        return ""
    names = {
        "one_step_skill": ("one-step error removed", percent), "action_gain": ("worth of the right action", _number),
        "success_recall": ("successes found", percent), "hallucinated_success": ("failures taken for successes", percent),
    }  # fmt: skip
    return page.tiles((told, show(known[name]), "at fitting") for name, (told, show) in names.items() if name in known)


def _confusion(measured: dict[str, Any]) -> str:
    """Return how imagination judges recorded episodes, acted out in it."""
    missed, failed = measured["missed_success"], measured["failed_replay"]
    rows = []
    if missed is not None:
        rows.append(("succeeded", missed["trials"] - missed["count"], missed["count"], percent(missed["share"])))
    if failed is not None:
        rows.append(("failed", failed["count"], failed["trials"] - failed["count"], percent(failed["share"])))
    return page.rows(("in MuJoCo", "judged success", "judged failure", "wrong"), rows)


def _data(run: Run) -> str:
    if run.data is None:
        return page.missing("There is no data set in this folder.", commands.of(run.folder, "collect"))
    if "problem" in run.data:
        return page.missing(f"The data set cannot be read: {run.data['problem']}.")
    kinds = run.data["policies"].items()
    rows = [(who, one["episodes"], f"{one['steps']:,}", one["successes"]) for who, one in kinds]
    total = f"<p>{run.data['steps']:,} steps, hash <code>{escape(run.data['hash'])}</code></p>"
    return page.rows(("who acted", "episodes", "steps", "successful"), rows) + total


def _said(run: Run) -> str:
    masks = _masks(run)
    if masks != "masks: simulator":
        return ""
    return "<p class='soft'>masks: simulator means that object masks are the simulator's, which is privileged knowledge.</p>"


def _masks(run: Run) -> str:
    reports = (run.evaluation or {}).get("reports") or []
    return f"masks: {reports[0]['masks']}" if reports else ""


def _seed(summary: Mapping[str, Any]) -> str:
    return f"seed {summary['seed']}" if "seed" in summary else ""


def _details(name: str, inside: str) -> str:
    return f"<details><summary>{escape(name)}</summary>{inside}</details>"


def _picture(one: dict[str, Any]) -> str:
    if one["picture"] is None:
        return page.missing("No decoder draws this world.")
    return f'<img alt="imagined above, real below" src="data:image/png;base64,{escape(str(one["picture"]))}">'


def _flat(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in config.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", str(value))]
    return rows


def _steps(values: list[float | None]) -> list[tuple[float, float]]:
    return [(float(i + 1), value) for i, value in enumerate(values) if value is not None]


def _floor(points: list[tuple[float, float]]) -> float:
    return min(0.0, *(loss for _, loss in points)) if len(points) > 1 else 0.0


def _range(interval: Any) -> str:
    if interval is None:
        return ""
    low, high = (interval["low"], interval["high"]) if isinstance(interval, dict) else interval
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def _points(gain: dict[str, Any]) -> str:
    return f"[{100 * gain['low']:+.1f}, {100 * gain['high']:+.1f}]"


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
