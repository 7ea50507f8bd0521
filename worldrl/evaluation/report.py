"""What an evaluation found: success in MuJoCo first, the imagined figure and the gap beside it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Never, Self

from worldrl.errors import DataError
from worldrl.evaluation.intervals import Interval, wilson

HEADER = (
    "task",
    "policy",
    "success in MuJoCo (95 %)",
    "imagined success",
    "gap",
    "masks",
    "encoder",
    "mean length",
    "episodes",
    "real steps",
    "imagined steps",
)


@dataclass(frozen=True)
class Report:
    """How one policy did in one task.

    Attributes:
        task: The environment's id.
        policy: The policy's name.
        masks: Where object masks came from, e.g. ``simulator``, ``few-shot`` or ``none``: figures with masks given by
            the simulator are not comparable with others, so this stands beside every figure.
        encoder: The frozen encoder's name.
        episodes: Number of real episodes.
        success: Share of them that succeeded, in ``[0, 1]``.
        interval: 95 % interval of ``success``.
        imagined_success: Share of imagined episodes that succeeded; None if there is no world model.
        mean_length: Steps of a real episode, on average.
        outcomes: Whether each real episode succeeded.
        seeds: The seed each real episode was reset with.
        real_steps: Simulator steps that went into the policy: collected and trained on, not those of this evaluation.
        imagined_steps: World model steps that went into the policy.

    Raises:
        ValueError: If episodes, outcomes and seeds are not as many, or ``success`` is not the outcomes' share.
    """

    task: str
    policy: str
    masks: str
    encoder: str
    episodes: int
    success: float
    interval: Interval
    imagined_success: float | None
    mean_length: float
    outcomes: tuple[bool, ...]
    seeds: tuple[int, ...]
    real_steps: int
    imagined_steps: int

    def __post_init__(self) -> None:
        if not self.episodes == len(self.outcomes) == len(self.seeds) or not self.outcomes:
            raise ValueError(
                f"episodes must be as many as outcomes and seeds, at least 1, "
                f"got {self.episodes}, {len(self.outcomes)} and {len(self.seeds)}."
            )
        share = sum(self.outcomes) / self.episodes
        if abs(self.success - share) > 1e-9:
            raise ValueError(f"success must be the share of the outcomes, {share}, got {self.success}.")
        if self.imagined_success is not None and not 0 <= self.imagined_success <= 1:
            raise ValueError(f"imagined_success must be in [0, 1] or None, got {self.imagined_success}.")

    @classmethod
    def of(
        cls,
        *,
        task: str,
        policy: str,
        masks: str,
        encoder: str,
        outcomes: Sequence[bool],
        lengths: Sequence[int],
        seeds: Sequence[int],
        real_steps: int,
        imagined_steps: int = 0,
        imagined_success: float | None = None,
    ) -> Self:
        """Build a report from what happened: episodes, success, its Wilson interval and the mean length follow.

        ``outcomes``, ``lengths`` (steps) and ``seeds`` have one value for each real episode; the rest are the fields.

        Raises:
            ValueError: If there are no episodes, or outcomes, lengths and seeds are not as many.
        """
        wins, episodes = sum(map(bool, outcomes)), len(outcomes)
        if not episodes or len(lengths) != episodes:
            raise ValueError(f"lengths must be one for each outcome, at least 1, got {len(lengths)} for {episodes}.")
        return cls(
            task=task,
            policy=policy,
            masks=masks,
            encoder=encoder,
            episodes=episodes,
            success=wins / episodes,
            interval=wilson(wins, episodes),
            imagined_success=None if imagined_success is None else float(imagined_success),
            mean_length=float(sum(map(int, lengths))) / episodes,
            outcomes=tuple(map(bool, outcomes)),
            seeds=tuple(map(int, seeds)),
            real_steps=int(real_steps),
            imagined_steps=int(imagined_steps),
        )

    @property
    def gap(self) -> float | None:
        """Imagined success minus real success: above zero, the world model promises too much."""
        return None if self.imagined_success is None else self.imagined_success - self.success

    def to_json(self) -> str:
        """Return the report as a JSON object, with ``gap``."""
        return json.dumps({**asdict(self), "gap": self.gap}, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` wrote.

        Raises:
            DataError: If ``text`` is no report.
        """
        try:
            value = json.loads(text, parse_constant=_refuse)
            names = {field.name for field in fields(cls)}
            if not isinstance(value, dict) or set(value) != names | {"gap"}:
                raise ValueError("its fields are not those of a report")
            value.pop("gap")
            value["interval"] = Interval(**value["interval"])
            value["outcomes"], value["seeds"] = tuple(value["outcomes"]), tuple(value["seeds"])
            return cls(**value)
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"a report must be the JSON that to_json writes: {error}.") from error


def table(reports: Sequence[Report]) -> str:
    """Return the reports as a markdown table, aligned to be read as plain text too.

    Real success stands first with its interval, in per cent; the imagined figure, the gap in points and where the masks
    came from stand beside it.

    Raises:
        ValueError: If there are no reports.
    """
    if not reports:
        raise ValueError("reports must be at least 1, got 0.")
    rows = [HEADER, *(_cells(report) for report in reports)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADER))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _cells(report: Report) -> tuple[str, ...]:
    low, high = 100 * report.interval.low, 100 * report.interval.high
    names = [_escape(name) for name in (report.task, report.policy, report.masks, report.encoder)]
    return (
        names[0],
        names[1],
        f"{100 * report.success:.1f} [{low:.1f}, {high:.1f}]",
        "-" if report.imagined_success is None else f"{100 * report.imagined_success:.1f}",
        "-" if report.gap is None else f"{100 * report.gap:+.1f}",
        f"masks: {names[2]}",
        names[3],
        f"{report.mean_length:.1f}",
        str(report.episodes),
        f"{report.real_steps:,}",
        f"{report.imagined_steps:,}",
    )


def _refuse(constant: str) -> Never:
    raise ValueError(f"{constant} is no figure")


def _escape(name: str) -> str:
    return " ".join(name.split()).replace("|", "\\|")
