"""The figures of ``worldrl fidelity`` as a markdown table."""

from typing import Any

from worldrl.recipes.table import markdown

STEPS = (1, 10, 25, 50)
"""Steps of imagination at which pictures are told."""
POLICY = ("imagined_success", "false_success", "repeatable_false_success")
"""What is told of a policy."""
PICTURES = (("psnr", "PSNR (dB)", 1), ("ssim", "SSIM", 3), ("st_lpips", "ST-LPIPS (lower is better)", 3))


def table(figures: dict[str, Any]) -> str:
    """Return one row a figure: its value, what it is to be held against, and over how much it was measured."""
    rows = [*_predictions(figures), *_judgements(figures), *_pictures(figures["pictures"]), *_policies(figures)]
    head = f"Task `{figures['task']}`, {figures['episodes']} held-out episodes, seed {figures['seed']}."
    lines = markdown(("figure", "value", "beside it", "over"), rows)
    return "\n".join([head, "", lines, *_notes(figures["pictures"])])


def _predictions(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    skill = f"{100 * figures['one_step_skill']:.0f} %"
    rows = [("one-step error removed", skill, "repeating the last: 0 %", f"{figures['episodes']} episodes")]
    for error in figures["open_loop"]:
        value, still = _number(error["model"], 4), _number(error["repeat_last"], 4)
        over = f"{error['segments']} segments"
        rows.append((f"open-loop error after {error['steps']} steps", value, f"repeating the last: {still}", over))
    heard = _number(figures["action_sensitivity"], 2)
    return [*rows, ("action sensitivity", heard, "deaf to actions: 0", f"{figures['episodes']} episodes")]


def _judgements(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        ("missed success", told_share(figures["missed_success"]), "should be 0 %", _trials(figures["missed_success"])),
        ("failed replay", told_share(figures["failed_replay"]), "should be 0 %", _trials(figures["failed_replay"])),
    ]


def _pictures(pictures: dict[str, Any] | None) -> list[tuple[str, ...]]:
    if pictures is None:
        return []
    rows: list[tuple[str, ...]] = []
    for name, title, digits in PICTURES:
        values = pictures["imagined"][name] or []
        for step in (step for step in STEPS if step <= len(values)):
            value, beside = _number(values[step - 1], digits), _beside(pictures, name, digits, step=step)
            over = f"{pictures['episodes_by_step'][step - 1]} episodes"
            rows.append((f"{title} after {_steps(step)}", value, beside, over))
    for crowd in ("frames", "clips"):
        name = f"frechet_{crowd}"
        if pictures["imagined"][name] is not None:
            value, title = _number(pictures["imagined"][name], 2), f"{name} over {pictures['encoder']} features"
            rows.append((title, value, _beside(pictures, name, 2), f"{pictures[crowd]} {crowd}"))
    return rows


def _beside(pictures: dict[str, Any], name: str, digits: int, *, step: int | None = None) -> str:
    """Return the same figure of the first frame held and, if there are any, of recorded tokens redrawn."""
    sides = {"first frame held": pictures["held"], "redrawn": pictures["redrawn"]}
    values = {side: found[name] if step is None else found[name][step - 1] for side, found in sides.items() if found}
    return ", ".join(f"{side}: {_number(value, digits)}" for side, value in values.items())


def _policies(figures: dict[str, Any]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for found in figures["policies"]:
        success, false, still = (found[name] for name in POLICY)
        halted = f"halted: {100 * found['halted']:.0f} %"
        rows += [
            (f"`{found['policy']}`: imagined success", told_share(success), halted, _trials(success)),
            (f"`{found['policy']}`: false success", told_share(false), "should be 0 %", _trials(false)),
            (f"`{found['policy']}`: of those that repeat", told_share(still), "should be 0 %", _trials(still)),
        ]
    return rows


def _notes(pictures: dict[str, Any] | None) -> list[str]:
    if pictures is None:
        return ["", "No pictures: nothing draws what this world imagines, or none were asked for."]
    notes = []
    if pictures["redrawn"] is not None:
        notes.append(
            "This world imagines tokens, and a small decoder draws them; *redrawn* is the same decoder's picture of "
            "the recorded tokens, which is the best that imagination could look."
        )
    if pictures["imagined"]["st_lpips"] is None:
        notes.append("ST-LPIPS is left out: `worldrl encoders install stlpips`.")
    if pictures["encoder"] is None:
        notes.append("Frechet distances are left out: the observation has no encoder, name one by `frechet=`.")
    size = pictures["size"]
    return ["", " ".join([f"Pictures are compared at {size}x{size} pixels.", *notes])]


def _steps(count: int) -> str:
    return "1 step" if count == 1 else f"{count} steps"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def told_share(share: dict[str, Any] | None) -> str:
    """Return a share with its interval; a dash where there were no trials."""
    if share is None or share["share"] is None:
        return "-"
    low, high = share["interval"]
    return f"{100 * share['share']:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def _trials(share: dict[str, Any] | None) -> str:
    return "0" if share is None else str(share["trials"])
