from worldrl.recipes.timing.plan import Model, measured, plan

BENCH = {
    "rows": [
        {"group": "training", "name": "frames, small", "rate": 100.0, "mflop": 2000.0},
        {"group": "real environment", "name": "drawer, fast drawing", "rate": 1000.0},
    ],
    "summary": {"machine": {"threads": 2}},
}


def test_hours_fall_with_gpus_and_bytes_are_those_of_the_model() -> None:
    text = plan(Model(weights=10**8, flop=1e11), BENCH)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith(("| 8 ", "| 64 "))]
    eight, many = ([float(cell.replace(",", "")) for cell in row[:4]] for row in rows)
    work = 3e8 * 3.5e11
    assert eight[2] == round(work / (8 * 989e12 * 0.3) / 3600, 1) and abs(eight[2] / many[2] - 8) < 0.3
    assert "copied (DDP) | 2 GB" in text and "shared by 8 GPUs (FSDP) | 250 MB" in text
    assert "does 200 GFLOP/s" in text and "28 core-hours" in text


def test_the_planned_model_is_as_large_as_the_published_one() -> None:
    model = measured()
    assert 0.29e9 < model.weights < 0.34e9 and model.flop > 5e10
