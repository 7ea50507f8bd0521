"""Fit the dynamics of world models, of one task or of several at once, to recorded episodes."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from worldrl.data.rows import some_rows
from worldrl.data.segments import SegmentSampler
from worldrl.diffusion.denoiser import Question
from worldrl.diffusion.drift import LinearDrift
from worldrl.objects import NUMBERS
from worldrl.resuming import Progress, Stops
from worldrl.world_model.chance import Chance
from worldrl.world_model.course import Course, identity, mean_loss, share
from worldrl.world_model.descent import Descent
from worldrl.world_model.engine import Engine
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.tokens import MOST, Tokens

OWN, LOOK, SIGHT = 5.0, 0.1, 0.3
"""What proprioception, the look of an object and visual tokens weigh in the loss; geometry weighs one.

The hand's motion is exactly predictable and every imagined step stands on it; a look hardly changes and is mostly noise
(our choice: with them the hand strays half as far in ten imagined steps).
"""

GREY = 1 / 255
"""Half a grey level, of pixels in ``[-1, 1]``."""
PUSH_AFTER = 0.15
"""Share of the steps before the past that is trained on may be imagined: what an untrained model imagines is no past.
"""


def set_scale(model: DiffusionWorldModel, sampler: SegmentSampler, *, visual: int = 0, floor: float = 0.03) -> None:
    """Fit the drift of tokens, measure how far each number strays from it in a step, and weigh the loss by that.

    Pixels are alike: they have no drift, and the spread of all of their changes is the unit of each. A number of a
    token that never strays by more than the floor is noise of the measurement: it keeps the floor as its unit, so that
    the model need not explain it. The last ``visual`` tokens are weighed alike in all of their numbers.
    """
    denoiser = model.denoiser
    if not isinstance(denoiser.drift, LinearDrift):
        squares = [(b.obs[:, -1] - b.obs[:, -2]).square().mean() for b in sampler.epoch(256, most=MOST)]
        denoiser.change_scale.fill_(2.0 * torch.stack(squares).mean().sqrt().clamp_min(GREY))
        return
    batches = list(sampler.epoch(4096, most=MOST))
    obs, codes = torch.cat([b.obs for b in batches]), torch.cat([model.codes(b.acts) for b in batches])
    history, change = obs[:, :-1], obs[:, -1] - obs[:, -2]
    denoiser.moves.copy_(change.abs().amax(dim=0) > 0)
    denoiser.drift.fit(history, codes, change)
    change = change - denoiser.drift(history, codes)
    spread = change.square().mean(dim=0).sqrt()
    denoiser.change_scale.copy_(2.0 * spread.clamp_min(floor))  # halved: the schedule expects a spread of 0.5
    denoiser.weight.copy_((spread / floor).clamp(max=1.0) ** 2)
    denoiser.weight[0] *= OWN
    last = len(denoiser.weight) - visual
    denoiser.weight[1:last, len(NUMBERS) :] *= LOOK
    denoiser.weight[last:] *= SIGHT


def fit_dynamics(
    models: Sequence[DiffusionWorldModel],
    tokens: Sequence[Tokens],
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 2e-3,
    overlap: float = 0.7,
    average: float = 0.995,
    push: float = 0.5,
    reach: int = 1,
    blur: float = 0.5,
    seed: int = 0,
    engine: Engine | None = None,
    stops: Stops | None = None,
    progress: Progress | None = None,
) -> float:
    """Fit the action codes, then train one denoiser for all models, on every episode, random ones included.

    Each task has a model of its own, with its own drift and scale; the network is one, that of the first model, and
    learns from all tasks in every step. Each member learns from its own draw of the episodes, so that members differ
    where episodes are few. The weights that are kept are a running average.

    A model that was trained on recorded pasts alone has never seen its own mistakes, and adds to them. So part of the
    pasts end in observations that the model itself imagines, and all are blurred a little. On 22 held-out episodes of
    door-lock, flat network, the error of the lock after 15 open-loop steps is 2.7 of that of no change without both,
    0.76 where one observation is imagined, 0.36 where up to six are, and 0.24 with up to ten.

    Args:
        models: One a task, alike in shape; changed in place, and left sharing one network.
        tokens: Recorded episodes of each task.
        steps: Gradient steps.
        batch_size: Transitions a step, of all tasks together.
        lr: Highest learning rate; warmed up over 100 steps, then falling along a cosine.
        overlap: Share of the episodes that each member learns from.
        average: How much of the running average is kept at each step.
        push: Share of the rows whose newest observations are imagined from those before.
        reach: How many of them at most, one after the other; each batch draws its own number.
        blur: Highest standard deviation of noise on the past, in units of its change; each row has its own.
        seed: Of batches, noise and members' draws.
        engine: The processes that share each batch; this one alone if None.
        stops: What to go on from after a stop, and to keep for one; None for neither.
        progress: Called with the step and the loss.

    Returns:
        The mean loss of the last tenth of the steps.

    Source: imagined pasts are the push-forward trick of Brandstetter et al. 2022 (arXiv 2202.03376), blurred ones the
    noise augmentation of GameNGen (Valevski et al. 2024, arXiv 2408.14837).

    Raises:
        ValueError: If there are not as many models as data, or none.
        NumericsError: If the loss is not finite.
        ConfigError: If the batch has fewer transitions than it has parts.
        CheckpointError: If what ``stops`` kept is damaged, or of another training.
    """
    if not models or len(models) != len(tokens):
        raise ValueError(f"models and tokens must be equally many, at least 1, got {len(models)} and {len(tokens)}.")
    engine = engine or Engine()
    net = models[0].denoiser.net
    chosen = torch.Generator().manual_seed(seed)
    courses = list[Course]()
    for model, own in zip(models, tokens, strict=True):
        model.action_code.fit(torch.from_numpy(some_rows(own.acts, MOST)), seed=seed)
        scaled = SegmentSampler(own.obs, own.acts, own.success, history=model.history, seed=seed)
        set_scale(model, scaled, visual=own.visual)
        draws = (torch.rand(len(own), model.members, generator=chosen) < overlap).float()
        draws[draws.sum(dim=1) == 0] = 1.0
        which, together = (seed, len(courses)), engine.shard
        courses.append(Course(model, own, draws=draws, blur=blur, reach=reach, together=together, seed=which))
    about = {
        "batch_size": batch_size, "push": push, "reach": reach, "blur": blur, "seed": seed, "overlap": overlap,
        "precision": engine.precision, "models": [identity(model) for model in models],
    }  # fmt: skip
    descent = Descent(net, engine, lr=lr, steps=steps, average=average, stops=stops, about=about)
    share(models, net, descent.engine.device, train=True)
    loss = descent.run(partial(_loss, courses, descent, max(1, batch_size // len(courses)), push), progress)
    share(models, descent.finish(), torch.device("cpu"), train=False)
    return loss


def _loss(courses: Sequence[Course], descent: Descent, batch_size: int, push: float, step: int, part: int) -> Tensor:
    """Return a part of the mean loss over tasks; the network is asked once for all of them."""
    push = push if step >= PUSH_AFTER * descent.steps else 0.0
    rows = descent.engine.rows(batch_size, part)
    asked, weights, totals = list[Question](), list[Tensor](), list[Tensor]()
    for course in courses:
        chance = Chance(course.seed, step, total=batch_size, rows=rows)
        seen = course.draw(chance, push=push, device=descent.engine.device)
        levels, noise = (one.to(seen.past.device) for one in (chance.normal(), chance.normal(*seen.past.shape[2:])))
        asked.append(course.model.denoiser.ask(seen.target, seen.past, seen.codes, levels=levels, noise=noise))
        weights.append(seen.weight)
        totals.append(seen.total)
    return mean_loss(courses, descent, asked, weights, totals)
