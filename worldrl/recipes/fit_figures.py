"""What is told of a world that was fitted: how it does on episodes it has not seen."""

from typing import Any


def measure(model: Any, tokens: Any, *, seed: int) -> dict[str, Any]:
    """Return how a world model does on episodes it has not seen."""
    from worldrl.data.segments import SegmentSampler
    from worldrl.evaluation.fidelity import judged_successful, one_step_error
    from worldrl.evaluation.heeding import action_verdict
    from worldrl.evaluation.recorded import replay_of

    sampler = SegmentSampler(tokens.obs, tokens.acts, tokens.success, history=model.history, seed=seed)
    error = one_step_error(model, ((batch.obs, batch.acts) for batch in sampler.epoch(512)), seed=seed)
    first = next(sampler.epoch(512))
    verdict = action_verdict(model, first.obs, first.acts, seed=seed)
    figures: dict[str, Any] = {
        "one_step_skill": float(error.skill),
        "action_sensitivity": verdict.sensitivity,
        "action_gain": verdict.gain,
        "heeds_actions": verdict.passed,
        **model.thresholds(),
        "episodes": len(tokens),
    }
    for name, wanted in (("hallucinated_success", False), ("success_recall", True)):
        rows = [i for i, success in enumerate(tokens.success) if bool(success.any()) == wanted]
        judged = (
            judged_successful(model, replay_of(tokens.subset(rows), history=model.history), seed=seed) if rows else None
        )
        figures[name] = None if judged is None else float(judged.double().mean())
    return figures


def heeding(figures: dict[str, Any]) -> str:
    """Say whether the world heeds its actions, and what helps where it does not."""
    from worldrl.evaluation.heeding import ActionVerdict

    verdict = ActionVerdict(figures["action_sensitivity"], figures["action_gain"])
    return str(verdict) if verdict.passed else f"{verdict}; fit longer or collect more random play before you refine"


def share(value: float | None) -> str:
    """Return a share with two digits; a dash where there is none."""
    return "-" if value is None else f"{value:.2f}"
