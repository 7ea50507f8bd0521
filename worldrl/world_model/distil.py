"""One evaluation instead of several: a student that answers as its teacher does after all of its sampling steps."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from worldrl.diffusion.denoiser import Denoiser, Question
from worldrl.errors import ConfigError
from worldrl.resuming import Progress, Stops
from worldrl.world_model.chance import Chance
from worldrl.world_model.course import Course, identity, mean_loss, share
from worldrl.world_model.descent import Descent
from worldrl.world_model.engine import Engine
from worldrl.world_model.model import DiffusionWorldModel
from worldrl.world_model.tokens import Tokens


def student_of(teacher: DiffusionWorldModel, *, net: dict[str, Any] | None = None) -> DiffusionWorldModel:
    """Return an untaught student: its teacher's drift, scale, judges and thresholds, and one evaluation a step.

    Args:
        teacher: A fitted world model.
        net: Arguments of the student's network; None for a copy of the teacher's, weights included.

    Raises:
        ConfigError: If that network has more members than the teacher's, whom they would follow.
    """
    config = teacher.config() | {"sampler": "distilled", "net": net or teacher.net_args}
    for name in ("class", "thresholds"):
        del config[name]
    members = int((net or teacher.net_args).get("members", 1))
    if members > teacher.members:
        raise ConfigError(f"a student must have at most the {teacher.members} members of its teacher, got {members}.")
    student = DiffusionWorldModel(**config | {"obs_shape": teacher.obs_shape})
    known = teacher.state_dict()
    if net is not None and net != teacher.net_args:
        known = {name: value for name, value in known.items() if not name.startswith("denoiser.net.")}
    student.load_state_dict(known, strict=False)
    for name, value in teacher.thresholds().items():
        setattr(student, name, value)
    return student


def distil(
    teachers: Sequence[DiffusionWorldModel],
    students: Sequence[DiffusionWorldModel],
    tokens: Sequence[Tokens],
    *,
    steps: int,
    batch_size: int = 256,
    lr: float = 5e-4,
    average: float = 0.995,
    push: float = 0.5,
    reach: int = 1,
    blur: float = 0.5,
    seed: int = 0,
    engine: Engine | None = None,
    stops: Stops | None = None,
    progress: Progress | None = None,
) -> float:
    """Teach students to reach in one evaluation what their teachers reach in all of their steps.

    Both begin from the same noise and follow the same member, and the student learns where the teacher ends: what its
    sampler maps noise to is fixed, so that a plain regression finds it. Pasts are recorded ones, and such as the
    student imagines itself. Thresholds are the teachers' until they are calibrated anew.

    Args:
        teachers: One a task, which share a network, as ``fit_dynamics`` leaves them.
        students: Theirs, as ``student_of`` makes them; changed in place, and left sharing one network.
        tokens: Recorded episodes of each task.
        steps: Gradient steps.
        batch_size: See ``fit_dynamics``, as for the others.
        lr: See there.
        average: See there.
        push: See there.
        reach: See there.
        blur: See there.
        seed: See there.
        engine: See there.
        stops: See there.
        progress: See there.

    Returns:
        The mean loss of the last tenth of the steps: squared error in units of the network's answer.

    Source: regression on the outcome of a deterministic sampler is knowledge distillation as Luhman & Luhman 2021
    (arXiv 2101.02388) do it with images; three steps need not be halved progressively (Salimans & Ho 2022, arXiv
    2202.00512). The student's own pasts are our choice.

    Raises:
        ValueError: If there are not as many teachers as students and data, or none.
        NumericsError: If the loss is not finite.
    """
    if not teachers or not len(teachers) == len(students) == len(tokens):
        found = f"{len(teachers)}, {len(students)} and {len(tokens)}"
        raise ValueError(f"teachers, students and tokens must be equally many, at least 1, got {found}.")
    engine = engine or Engine()
    net = students[0].denoiser.net.requires_grad_(True)
    answers = [copy.deepcopy(teacher.denoiser).to(engine.device).eval() for teacher in teachers]
    courses = [
        Course(
            student, own, draws=torch.ones(len(own), student.members), blur=blur, reach=reach, together=engine.shard,
            seed=(seed, index),
        )
        for index, (student, own) in enumerate(zip(students, tokens, strict=True))
    ]  # fmt: skip
    about = {
        "batch_size": batch_size, "push": push, "reach": reach, "blur": blur, "seed": seed,
        "precision": engine.precision, "teachers": [teacher.hash() for teacher in teachers],
        "models": [identity(student) for student in students],
    }  # fmt: skip
    descent = Descent(net, engine, lr=lr, steps=steps, average=average, stops=stops, about=about)
    share(students, net, engine.device, train=True)
    taught = list(zip(courses, answers, [teacher.steps for teacher in teachers], strict=True))
    loss = descent.run(partial(_loss, taught, descent, max(1, batch_size // len(courses)), push), progress)
    share(students, descent.finish(), torch.device("cpu"), train=False)
    return loss


def _loss(
    taught: Sequence[tuple[Course, Denoiser, int]],
    descent: Descent,
    batch_size: int,
    push: float,
    step: int,
    part: int,
) -> Tensor:
    """Return a part of the mean loss over tasks."""
    rows = descent.engine.rows(batch_size, part)
    asked, weights = list[Question](), list[Tensor]()
    for course, teacher, evaluations in taught:
        chance, members = Chance(course.seed, step, total=batch_size, rows=rows), course.model.members
        seen = course.draw(chance, push=push, device=descent.engine.device)
        noise = chance.normal(*seen.past.shape[2:]).to(seen.past.device)
        member = (chance.uniform() * members).long().to(seen.past.device)
        with torch.no_grad():
            outcome, _ = teacher.sample(noise, seen.past, seen.codes, member=member, steps=evaluations)
        asked.append(course.model.denoiser.ask_outcome(outcome, seen.past, seen.codes, noise=noise))
        weights.append(one_hot(member, members).float())
    totals = [torch.tensor(float(batch_size), device=descent.engine.device)] * len(taught)
    return mean_loss([course for course, _, _ in taught], descent, asked, weights, totals)
