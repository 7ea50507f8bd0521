"""The sections of the page, in the order in which a run is to be judged."""

from collections.abc import Iterator, Mapping
from typing import Any

from worldrl.recipes.reporting import charts, commands, exhibits, loops, page, wording
from worldrl.recipes.reporting.figures import Run
from worldrl.recipes.reporting.learning import learning


def report(run: Run, measured: Mapping[str, dict[str, Any]]) -> str:
    """Return the page of a run; ``measured`` is what ``measured.measure`` found, by task."""
    summary = run.summary or {}
    known = {str(data["env"]["id"]): None for data in run.data.values() if "env" in data}
    named = ((run.config or {}).get("env") or {}).get("id")
    task = summary.get("task") or run.facts.get("task") or named or ", ".join(known)
    line = ", ".join(
        str(one) for one in (task, _masks(run), _encoder(summary), _seed(summary), "made by worldrl report") if one
    )
    return page.page(f"Run {run.folder.resolve().name}", line, _parts(run, measured))


def _parts(run: Run, measured: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Return the sections of a run, as many as its kind has."""
    kind, worlds = run.places.kind, run.places.worlds
    acts = kind == "policy" or (kind == "run" and (len(worlds) < 2 or run.evaluation is not None))
    if kind == "online":
        yield loops.online(run)
    if kind == "evolution":
        yield loops.rounds(run)
    if acts:
        yield success(run)
    if (acts and kind == "run") or run.refinement:
        yield gap(run)
    yield learning(run)
    if kind not in ("policy", "online"):
        for task in worlds or [""]:
            yield fidelity(run, measured.get(task), task)
    if acts and kind == "run":
        yield exhibits.videos(run)
    if kind not in ("policy", "online") and (len(worlds) < 2 or run.places.policies):
        for task in worlds or [""]:
            yield exhibits.invented(run, measured.get(task), task)
    yield exhibits.repeating(run)


def success(run: Run) -> str:
    """Success in MuJoCo, before and after, the imagined figure and the gap beside it."""
    how = (
        "Success is measured in MuJoCo, on held-out starts that are the same for both policies. Good: the gain's "
        "interval lies above 0. Bad: it holds 0, or imagined success stands far above the real one (a large gap)."
    )
    reports = (run.evaluation or {}).get("reports") or []
    if not reports:
        what = page.missing("Success was not measured in MuJoCo.", commands.of(run, "evaluate"))
        if command := commands.going_on(run):
            what = page.missing("The run has not ended.", command, "goes on with it")
        return page.section("success", "Success in MuJoCo", how, what)
    gains = (run.evaluation or {}).get("gains") or []
    shown = [(str(one["policy"]), wording.percent(one["success"]), _beside(one)) for one in reports]
    shown += [("paired gain", f"{100 * one['mean']:+.1f}", f"points, 95 %: {wording.points_of(one)}") for one in gains]
    rows = [
        (
            one["policy"], f"{wording.percent(one['success'])} {wording.span(one['interval'])}",
            wording.percent(one["imagined_success"]),
            wording.signed(one["gap"]), f"masks: {one['masks']}", one["encoder"], one["episodes"],
            f"{one['mean_length']:.1f}",
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
        lacks = page.missing("Nothing was refined here.", commands.of(run, "refine"))
        return page.section("gap", title, how, lacks)
    told, marks = run.refinement or {}, _marks(run)
    line = {"imagined success": [(one["steps"], one["success"]) for one in candidates]}
    chart = charts.lines(line, across="imagined steps", up="success", top=1.0, dots=True, marks=marks)
    head = ("steps", "imagined success", "halted", "decisions", "nats away", "believed", "")
    rows = [
        (
            f"{one['steps']:,}", wording.percent(one["success"]), wording.percent(one["halted"]),
            wording.number(one["length"]),
            wording.number(one["divergence"]), "yes" if one["believed"] else "no",
            "kept" if one["steps"] == told["kept_after_steps"] else "",
        )
        for one in candidates
    ]  # fmt: skip
    note = "" if marks else page.missing("No candidate was measured in MuJoCo.", commands.of(run, "evaluate"))
    some = ""
    if marks and not told.get("checkpoints"):
        some = "<p class='soft'>Only the first and the kept candidate were measured; <code>refine checkpoints=4</code> "
        some += "saves others, which <code>evaluate</code> takes like any policy.</p>"
    return page.section("gap", title, how, chart, note, some, wording.details("every candidate", page.rows(head, rows)))


def fidelity(run: Run, measured: dict[str, Any] | None, task: str = "") -> str:
    """How far the predictions of a world, of one among several tasks, hold."""
    how = (
        "Held-out episodes, imagined open loop under their recorded actions. Good: the error stays below that of "
        "no change, disagreement below 1 (where episodes are halted). Bad: it crosses either, or judges failures "
        "as successes."
    )
    name, title = page.named("fidelity", "How far the world can be trusted", task)
    if not run.places.worlds:
        return page.section(name, title, how, page.missing("There is no world.", commands.of(run, "fit")))
    parts = [_known(run.known.get(task))]
    if measured is None or "problem" in measured:
        why = (
            "Nothing was measured for this page." if measured is None else f"It was not measured: {measured['problem']}"
        )
        return page.section(name, title, how, *parts, page.missing(why, commands.of(run, "report"), "measures it"))
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
            + f"</div></div><p class='soft'>{found['segments']} segments of "
            + f"{measured['episodes']} held-out episodes.</p>"
        )
    parts.append("<h3>Judgement of replayed episodes</h3>" + _confusion(measured))
    return page.section(name, title, how, *parts)


def _beside(one: dict[str, Any]) -> str:
    """Return what stands beside a real figure: its interval, the imagined figure and the gap."""
    told = f"95 %: {wording.span(one['interval'])}"
    if one["imagined_success"] is None:
        return told
    return f"{told}; imagined {wording.percent(one['imagined_success'])}, gap {wording.signed(one['gap'])}"


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
        "one_step_skill": ("one-step error removed", wording.percent),
        "action_gain": ("worth of the right action", wording.number),
        "success_recall": ("successes found", wording.percent),
        "hallucinated_success": ("failures taken for successes", wording.percent),
    }  # fmt: skip
    shown = [(told, show(known[name]), "at fitting") for name, (told, show) in names.items() if name in known]
    if known.get("sharpness"):  # of visual tokens
        before, after = (known["sharpness"][when]["psnr"] for when in ("before", "after"))
        shown.append(("imagined frames, PSNR", f"{after:.1f} dB", f"{before:.1f} before their decoder was tuned"))
    return page.tiles(shown)


def _confusion(measured: dict[str, Any]) -> str:
    """Return how imagination judges recorded episodes, acted out in it."""
    missed, failed = measured["missed_success"], measured["failed_replay"]
    rows = []
    if missed is not None:
        rows.append(
            ("succeeded", missed["trials"] - missed["count"], missed["count"], wording.percent(missed["share"]))
        )
    if failed is not None:
        rows.append(("failed", failed["count"], failed["trials"] - failed["count"], wording.percent(failed["share"])))
    return page.rows(("in MuJoCo", "judged success", "judged failure", "wrong"), rows)


def _said(run: Run) -> str:
    masks = _masks(run)
    if masks != "masks: simulator":
        return ""
    return (
        "<p class='soft'>masks: simulator means that object masks are the simulator's, which is privileged "
        "knowledge.</p>"
    )


def _masks(run: Run) -> str:
    reports = (run.evaluation or {}).get("reports") or []
    return f"masks: {reports[0]['masks']}" if reports else ""


def _encoder(summary: Mapping[str, Any]) -> str:
    """Return who encodes where that is a control, which a table of names would not tell."""
    return f"encoder: {summary['encoder']} (random weights)" if summary.get("encoder_random_init") else ""


def _seed(summary: Mapping[str, Any]) -> str:
    return f"seed {summary['seed']}" if "seed" in summary else ""


def _steps(values: list[float | None]) -> list[tuple[float, float]]:
    return [(float(i + 1), value) for i, value in enumerate(values) if value is not None]
