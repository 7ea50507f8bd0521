"""What runs show that act and learn in turns: ``worldrl train`` and ``worldrl evolve``."""

from html import escape

from worldrl.recipes.reporting import charts, page, wording
from worldrl.recipes.reporting.figures import Run


def online(run: Run) -> str:
    """Success of an agent that was trained online, in MuJoCo, and what its world promises."""
    how = (
        "Success is measured in MuJoCo, on held-out starts. Good: it rises over real steps, and the imagined return is "
        "near the real one. Bad: the imagined return stands far above it."
    )
    title, told = "Success in MuJoCo", run.summary
    if told is None:
        return page.section("success", title, how, page.missing("The run has not ended: its command goes on with it."))
    span = f"95 %: {wording.span(told['interval'])}, {len(told['outcomes'])} episodes"
    tiles = [
        ("success", wording.percent(told["success"]), span),
        ("return", wording.number(told["ret"]), f"imagined {wording.number(told['imagined_ret'])}"),
        ("imagined end", wording.percent(told["imagined_end"]), "share of imagined episodes that end"),
    ]
    way = [(float(one["steps"]), float(one["success"])) for one in told["curve"]]
    low, high = told["interval"]
    marks = [(float(told["real_steps"]), told["success"], low, high, "at the end")]
    chart = charts.lines({"on the way": way}, across="real steps", up="success", top=1.0, dots=True, marks=marks)
    lacks = page.missing(
        "How far a world of worldrl train can be trusted is not measured here: it has no episodes that it has not seen."
    )
    return page.section("success", title, how, page.tiles(tiles), chart, lacks)


def rounds(run: Run) -> str:
    """What each round of an evolution cost and promises."""
    how = (
        "Refinements of one policy after the other; between two of them real episodes are recorded and the world is "
        "fitted again. Imagined success is a promise: only worldrl evaluate tells."
    )
    title, told = "Rounds", run.evolution
    if told is None:
        return page.section("rounds", title, how, page.missing("The run has not ended: its command goes on with it."))
    rows = [
        (i + 1, one["policy"].rpartition("/")[2], wording.percent(one["imagined_success"]), f"{one['real_steps']:,}")
        for i, one in enumerate(told["rounds"])
    ]
    table = page.rows(("round", "policy", "imagined success", "real steps beyond the first data"), rows)
    first = f"<p>The first data are {escape(format(told['real_steps_at_first'], ','))} real steps.</p>"
    return page.section("rounds", title, how, table, first)
