import pytest
import torch
from shared_training import episodes

from worldrl.errors import ConfigError
from worldrl.world_model.distil import distil, student_of
from worldrl.world_model.fit import fit_dynamics
from worldrl.world_model.model import DiffusionWorldModel

NET = {"width": 32, "depth": 1, "heads": 2, "members": 2}


def teacher() -> DiffusionWorldModel:
    torch.manual_seed(0)
    model = DiffusionWorldModel(obs_shape=(3, 5), act_dim=2, history=2, steps=3, net=NET)
    fit_dynamics([model], [episodes()], steps=60, seed=0)
    model.success_threshold, model.halt_threshold = 0.7, 3.0
    return model.freeze()


def imagined(model: DiffusionWorldModel, seed: int = 0) -> torch.Tensor:
    rng, tokens = torch.Generator().manual_seed(seed), episodes()
    obs = torch.stack([torch.as_tensor(one[3:5]) for one in tokens.obs])
    acts = torch.stack([torch.as_tensor(one[3:5]) for one in tokens.acts])
    noise, choice = torch.randn(len(obs), 3, 5, generator=rng), torch.rand(len(obs), generator=rng)
    return model.imagine(obs, acts, noise=noise, choice=choice).obs


def test_a_student_ends_in_one_evaluation_where_its_teacher_ends_in_three() -> None:
    master = teacher()
    student, before = student_of(master), master.hash()
    assert (master.evaluations, student.evaluations) == (3, 1)
    target = imagined(master)
    untaught = (imagined(student) - target).square().mean()
    loss = distil([master], [student], [episodes()], steps=150, seed=0)
    taught = (imagined(student.freeze()) - target).square().mean()
    assert taught < 0.2 * untaught and loss < 0.2
    assert master.hash() == before and not any(p.requires_grad for p in master.parameters())


def test_a_student_keeps_judges_and_drift_and_may_have_a_smaller_network(tmp_path) -> None:  # type: ignore[no-untyped-def]
    master = teacher()
    student = student_of(master, net=NET | {"width": 16})
    kept, mine = master.state_dict(), student.state_dict()
    others = [name for name in kept if not name.startswith("denoiser.net.")]
    assert all(torch.equal(kept[name], mine[name]) for name in others)
    assert student.thresholds() == master.thresholds()
    assert sum(map(torch.Tensor.numel, student.parameters())) < sum(map(torch.Tensor.numel, master.parameters()))
    student.freeze().save_pretrained(tmp_path / "student")
    again = DiffusionWorldModel.from_pretrained(tmp_path / "student")
    assert again.sampler == "distilled" and again.hash() == student.hash()
    assert torch.equal(imagined(again), imagined(student))


def test_a_student_cannot_follow_members_that_its_teacher_lacks() -> None:
    with pytest.raises(ConfigError, match="a student must have at most the 2 members of its teacher, got 3"):
        student_of(DiffusionWorldModel(obs_shape=(3, 5), act_dim=2, history=2, net=NET), net=NET | {"members": 3})
