"""The section of learning curves: a chart a loss, and small ones of what a training tells beside it."""

from html import escape

from worldrl.recipes.reporting import charts, commands, page
from worldrl.recipes.reporting.figures import Points, Run

HOW = (
    "The loss of each stage over its gradient steps. Good: it falls and levels off. Bad: it rises, jumps, or still "
    "falls at the end (more steps would help). Low loss alone proves nothing about success."
)
SIGNS = {
    "refine": "PPO over imagined steps. Good: reward and explained variance rise (the latter to 1), the divergence "
    "from the policy that it began as levels off, entropy falls slowly. Bad: a clip fraction above a third or an "
    "approximate KL above 0.1 (lower lr), an explained variance that stays below 0 (the critic predicts nothing), or a "
    "divergence that only grows.",
    "train": "World model and agent over real steps. Good: the losses of the world model fall, and the imagined return "
    "rises together with the one in MuJoCo. Bad: it rises alone.",
}
"""How the figures of a training are to be read, by its label."""


def learning(run: Run) -> str:
    """What every training told of itself."""
    title = "Learning curves"
    if not run.curves:
        verb = {"run": "demo", "world": "fit", "policy": "clone"}.get(run.places.kind, "demo")
        what = "No curves were kept here: the run is older than NAME.curves.json, or its stages have not ended."
        return page.section("learning", title, HOW, page.missing(what, commands.of(run, verb)))
    losses = {label: points for label, points in run.curves.items() if "/" not in label}
    groups = dict[str, dict[str, Points]]()
    for label, points in run.curves.items():
        if label not in losses:
            training, _, name = label.partition("/")
            groups.setdefault(training, {})[name] = points
    drawn = [
        f"<div><h3>{escape(label)}</h3>"
        + charts.lines({"loss": points}, across="gradient steps", up="loss", low=_floor(points))
        + "</div>"
        for label, points in losses.items()
    ]
    parts = [f'<div class="pair">{"".join(drawn)}</div>'] if drawn else []
    explained = set[str]()
    for training, curves in groups.items():
        what = training.rpartition(": ")[2]
        how = "" if what in explained else SIGNS.get(what, "")
        explained.add(what)
        small = "".join(charts.small(name, points) for name, points in curves.items())
        told = f'<p class="how">{escape(how)}</p>' if how else ""
        parts.append(f'<h3>{escape(training)}</h3>{told}<div class="many">{small}</div>')
    return page.section("learning", title, HOW if losses else "", *parts)


def _floor(points: Points) -> float:
    return min(0.0, *(loss for _, loss in points)) if len(points) > 1 else 0.0
