"""A planner finds what a world model says succeeds soonest, and keeps to where it knows."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from worldrl.agents.planning import METHODS, Planner
from worldrl.errors import ConfigError, NumericsError
from worldrl.types import Imagined

STEP, T = 0.15, 2


class Point:
    """A point that moves by a share of its action; success is likely near a target, and a wall is outside the data."""

    history, success_threshold = T, 0.5

    def __init__(self, target: tuple[float, ...], *, sharp: float = 10.0, wall: bool = False) -> None:
        self.target, self.sharp, self.wall = torch.tensor(target), sharp, wall
        self.obs_shape, self.act_dim = (len(target),), len(target)

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        place = obs[:, -1] + STEP * acts[:, -1]
        success = torch.sigmoid(3.0 - self.sharp * (place - self.target).square().sum(dim=1))
        return Imagined(place, success, 2.0 * (self.wall & in_wall(place)))


def in_wall(place: Tensor) -> Tensor:
    return (place[:, 0] > 0.4) & (place[:, 0] < 0.6) & (place[:, 1].abs() < 0.3)


class Steady:
    """A world that only counts: every step succeeds with one probability, and the ``lost``-th leaves the data."""

    history, obs_shape, act_dim, success_threshold = T, (1,), 2, 0.5

    def __init__(self, success: float = 0.5, lost: int = 99) -> None:
        self.success, self.lost = success, lost
        self.seen: list[dict[str, Tensor]] = []

    def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
        self.seen.append({"obs": obs, "acts": acts, "noise": noise, "choice": choice})
        age = obs[:, -1] + 1.0
        disagreement = torch.where(age[:, 0] >= self.lost, 1.5, 1.0)
        return Imagined(age, torch.full((len(obs),), self.success), disagreement)


def origins(count: int, size: int) -> tuple[Tensor, Tensor]:
    rng = torch.Generator().manual_seed(0)
    places = 0.2 * torch.randn(count, 1, size, generator=rng)
    return places.repeat(1, T, 1), torch.zeros(count, T - 1, size)


def walk(planner: Planner, model: Point, obs: Tensor, acts: Tensor, *, steps: int) -> tuple[list[int], Tensor]:
    """Plan and move; return the step in which each walk first succeeds (``steps + 1`` for never), and all places."""
    arrived, last, places = torch.full((len(obs),), steps + 1), None, [obs[:, -1]]
    for step in range(1, steps + 1):
        keys = np.array([(row, step) for row in range(len(obs))])
        last = planner.plan(obs, acts, last=last, keys=keys).acts
        out = model.imagine(obs, torch.cat([acts, last[:, :1]], dim=1), noise=obs, choice=obs)
        obs, acts = torch.cat([obs[:, 1:], out.obs[:, None]], dim=1), last[:, :1]
        arrived[(arrived > steps) & (out.success >= 0.5)] = step
        places.append(out.obs)
        if (arrived <= steps).all():
            break
    return arrived.tolist(), torch.stack(places, dim=1)


@pytest.mark.parametrize("method", METHODS)
def test_searching_arrives_sooner_than_random_shooting_of_the_same_budget(method: str) -> None:
    model = Point((0.6, -0.6) * 4)
    obs, acts = origins(8, 8)
    search = Planner(model, method=method, horizon=6, samples=64, elites=8, iterations=5)
    shooting = Planner(model, horizon=6, samples=320, iterations=1)
    assert search.plan(obs, acts).value.mean() >= 3.0 * shooting.plan(obs, acts).value.mean()
    assert search.imagined_steps == shooting.imagined_steps == 8 * 320 * 6
    searched, _ = walk(search, model, obs, acts, steps=8)
    shot, _ = walk(shooting, model, obs, acts, steps=8)
    assert max(searched) <= 6
    assert np.mean(searched) <= np.mean(shot) - 0.3


@pytest.mark.parametrize("method", METHODS)
def test_one_more_iteration_never_plans_worse_where_nothing_is_left_to_chance(method: str) -> None:
    model = Point((0.6, -0.6) * 2)
    values = torch.stack([Planner(model, method=method, iterations=i).plan(*origins(16, 4)).value for i in range(1, 6)])
    assert (values.diff(dim=0) >= 0).all()
    assert values[-1].mean() > 1.2 * values[0].mean()


@pytest.mark.parametrize("method", METHODS)
def test_it_goes_around_what_lies_outside_the_data_and_straight_through_where_it_does_not(method: str) -> None:
    obs, acts = torch.zeros(6, T, 2), torch.zeros(6, T - 1, 2)
    for wall in (True, False):
        model = Point((1.0, 0.0), sharp=40.0, wall=wall)
        arrived, places = walk(Planner(model, method=method, horizon=10), model, obs, acts, steps=20)
        assert max(arrived) <= 20
        through = torch.stack([in_wall(path).any() for path in places])
        assert not through.any() if wall else through.float().mean() > 0.5


def test_where_nothing_promises_success_plans_that_stay_in_the_data_are_better() -> None:
    model = Point((50.0, 0.0), wall=True)
    obs = torch.tensor([0.35, 0.0]).repeat(8, T, 1)
    last = torch.zeros(8, 6, 2)
    last[:, :, 0] = 0.6  # into the wall
    plan = Planner(model, horizon=6).plan(obs, torch.zeros(8, T - 1, 2), last=last)
    assert not in_wall(obs[:, -1] + STEP * plan.acts[:, 0]).any()


@pytest.mark.parametrize(
    ("lost", "value"),
    [
        (99, 0.5 + 0.5 * 0.8 * 0.5 + 0.25 * 0.64 * 0.5),  # first success in step 1, 2, 3, each worth 0.8 of the last
        (2, 0.5),
        (1, 0.0),
    ],
)
def test_the_value_is_the_discounted_probability_of_first_success_before_a_halt(lost: int, value: float) -> None:
    plan = Planner(Steady(0.5, lost), horizon=3, discount=0.8).plan(torch.zeros(2, T, 1), torch.zeros(2, T - 1, 2))
    torch.testing.assert_close(plan.value, torch.full((2,), value))


def test_the_model_sees_the_history_and_then_what_it_imagined() -> None:
    model = Steady()
    obs, acts = torch.tensor([[[1.0], [2.0]]]), torch.tensor([[[0.3, 0.4]]])
    Planner(model, horizon=3, samples=4, elites=2, iterations=1).plan(obs, acts)
    assert [step["obs"][0, :, 0].tolist() for step in model.seen] == [[1.0, 2.0], [2.0, 3.0], [3.0, 4.0]]
    assert (model.seen[0]["acts"][:, 0] == acts[0, 0]).all()
    for before, after in zip(model.seen, model.seen[1:], strict=False):
        assert torch.equal(after["acts"][:, 0], before["acts"][:, 1])


def test_all_candidates_meet_the_same_chance_and_every_step_another() -> None:
    model = Steady()
    Planner(model, horizon=3, samples=8, elites=2, iterations=2).plan(torch.zeros(1, T, 1), torch.zeros(1, T - 1, 2))
    for name in ("noise", "choice"):
        steps = [step[name] for step in model.seen]
        assert all((step == step[0]).all() for step in steps)
        assert len({float(step[0]) for step in steps}) == len(steps) == 6
    assert all(0 <= float(step["choice"][0]) < 1 for step in model.seen)


def test_candidates_keep_their_deviation_for_a_while() -> None:
    model = Steady()
    planner = Planner(model, horizon=4, samples=2000, iterations=1, sigma=0.1)
    planner.plan(torch.zeros(1, T, 1), torch.zeros(1, T - 1, 2))
    acts = torch.stack([step["acts"][1:, -1, 0] for step in model.seen])
    torch.testing.assert_close(acts.std(dim=1), torch.full((4,), 0.1), rtol=0.1, atol=0.0)
    together = torch.corrcoef(acts)
    torch.testing.assert_close(together[0, 1:], torch.tensor([0.7, 0.49, 0.343]), rtol=0.0, atol=0.08)


@pytest.mark.parametrize(
    ("search", "weights"),
    [
        ({"method": "cem", "elites": 2}, [0.0, 0.5, 0.0, 0.5]),
        ({"method": "mppi", "temperature": 1.0}, [0.1, 0.4, 0.2, 0.3]),
        ({"method": "mppi", "temperature": 0.5}, [1 / 30, 16 / 30, 4 / 30, 9 / 30]),  # squares, which sum to 0.3
    ],
)
def test_elites_count_alike_and_path_integrals_count_by_the_power_of_what_is_likely(
    search: dict[str, Any], weights: list[float]
) -> None:
    weigh = Planner(Steady(), samples=4, **{"elites": 4, **search}).weigh
    torch.testing.assert_close(weigh(torch.tensor([[0.1, 0.4, 0.2, 0.3]])), torch.tensor([weights]))


@pytest.mark.parametrize("method", METHODS)
def test_candidates_draw_together_but_never_into_one(method: str) -> None:
    class Watched(Point):
        spreads: list[float]

        def imagine(self, obs: Tensor, acts: Tensor, *, noise: Tensor, choice: Tensor) -> Imagined:
            self.spreads.append(float(acts[2:, -1].std(dim=0).mean()))
            return super().imagine(obs, acts, noise=noise, choice=choice)

    model = Watched((0.2, -0.2))
    model.spreads = []
    planner = Planner(model, method=method, horizon=3, iterations=20, temperature=0.02)
    planner.plan(torch.zeros(1, T, 2), torch.zeros(1, T - 1, 2))
    first, last = np.mean(model.spreads[:3]), np.mean(model.spreads[-3:])
    assert first > 0.35 and 0.03 < last < 0.5 * first


def test_a_plan_is_moved_on_by_one_step() -> None:
    last = torch.tensor([[[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]]])
    plan = Planner(Steady(), horizon=3).plan(torch.zeros(1, T, 1), torch.zeros(1, T - 1, 2), last=last)
    assert torch.equal(plan.acts[0], last[0, [1, 2, 2]])  # every candidate is worth the same, so nothing replaces it


def problems(count: int) -> dict[str, Any]:
    obs, acts = origins(count, 4)
    return {"obs": obs, "acts": acts, "last": 0.1 * torch.ones(count, 8, 4), "keys": np.arange(count)[:, None]}


@pytest.mark.parametrize("method", METHODS)
def test_a_problem_is_planned_as_if_it_were_alone(method: str) -> None:
    planner = Planner(Point((0.6, -0.6) * 2), method=method)
    together = planner.plan(**problems(5))
    for row in (0, 3):
        alone = planner.plan(**{name: part[row : row + 1] for name, part in problems(5).items()})
        torch.testing.assert_close(alone.acts[0], together.acts[row])
        torch.testing.assert_close(alone.value[0], together.value[row])


def test_a_seed_and_a_key_repeat_a_plan_and_others_do_not() -> None:
    model = Point((0.6, -0.6) * 2)
    first, again, other = (Planner(model, seed=seed).plan(**problems(2)).acts for seed in (7, 7, 8))
    assert torch.equal(first, again) and (first - other).abs().mean() > 0.1
    swapped = Planner(model, seed=7).plan(**{**problems(2), "keys": np.array([[0], [0]])}).acts
    assert torch.equal(swapped[0], first[0]) and (swapped[1] - first[1]).abs().mean() > 0.1


@pytest.mark.parametrize("method", METHODS)
def test_a_proposal_helps_where_success_is_too_far_to_be_found(method: str) -> None:
    model = Point((1.0, -1.0) * 2, sharp=1000.0)
    obs, acts = origins(8, 4)

    def clumsy(places: Tensor) -> Tensor:
        """Go to the target at three quarters of the speed, past it by a little."""
        return (5.0 * (1.03 * model.target - places)).clamp(-0.75, 0.75)

    settings: dict[str, Any] = {"method": method, "horizon": 10, "samples": 32, "elites": 6}
    alone, _ = walk(Planner(model, **settings), model, obs, acts, steps=12)
    helped, _ = walk(Planner(model, proposal=clumsy, **settings), model, obs, acts, steps=12)
    followed, _ = walk(
        Planner(model, proposal=clumsy, **settings | {"sigma": 1e-6, "iterations": 1}), model, obs, acts, steps=12
    )
    assert min(alone) > 12
    assert np.mean(helped) < np.mean(followed) <= 12


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"method": "cma"}, "method must be one of cem, mppi, got 'cma'"),
        ({"samples": 3}, "samples must be at least 4, got 3"),
        ({"samples": 8, "elites": 9}, r"elites must be in \[1, 8\], the number of samples, got 9"),
        ({"elites": 0}, "elites must be in"),
        ({"discount": 1.1}, r"discount must be in \(0, 1\], got 1.1"),
        ({"horizon": 0}, "horizon must be positive, got 0"),
        ({"iterations": 0}, "iterations must be positive, got 0"),
        ({"temperature": 0.0}, "temperature must be positive, got 0.0"),
        ({"sigma": float("nan")}, "sigma must be positive, got nan"),
    ],
)
def test_a_search_that_cannot_be_is_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        Planner(Steady(), **wrong)


@pytest.mark.fault(40)
def test_what_is_not_finite_is_not_planned_with() -> None:
    with pytest.raises(NumericsError, match="must be finite, got nan or inf: shorten the horizon"):
        Planner(Steady(float("nan"))).plan(torch.zeros(1, T, 1), torch.zeros(1, T - 1, 2))
