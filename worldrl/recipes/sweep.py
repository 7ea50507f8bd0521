"""A verb under many options at once, through Hydra: its launchers run the combinations here or on a cluster."""

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from worldrl.errors import ConfigError, WorldRLError, error_of, first_line
from worldrl.recipes.config import CONFIGS, check_words, register, to_config
from worldrl.recipes.results import Result, figures_of
from worldrl.recipes.table import table


def sweep(words: Sequence[str]) -> Result:
    """Run a verb once for every combination of options, and return a table of how each ended.

    Args:
        words: The verb, and ``key=value`` as for it, with several values separated by commas (``seed=0,1,2``, or
            ``seed=range(3)``) and ``${key}`` for the value of another option (``out='runs/fit-${seed}'``). Words that
            begin with ``hydra`` are Hydra's own, such as ``hydra/launcher=joblib``.

    Raises:
        ConfigError: If the verb or an option is none, or Hydra cannot launch it.
        WorldRLError: If a combination failed, once all of them are over.
    """
    from hydra import initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException

    verb, options = _recipe(words), list(words[1:])
    own = [word for word in options if not word.lstrip("+~").startswith("hydra")]
    check_words(verb, own)
    register(verb)
    place = ["hydra.sweep.dir=runs/sweeps/${hydra.job.config_name}/${now:%Y-%m-%d_%H-%M-%S}"]
    with initialize_config_module(CONFIGS, version_base="1.3"):
        launcher: Any = GlobalHydra.instance().hydra
        try:
            batches = launcher.multirun(
                config_name=verb, task_function=_one, overrides=[*place, *options], with_log_configuration=False
            )
        except (HydraException, ValueError) as error:
            raise ConfigError(f"{verb} cannot be launched: {first_line(error)}.") from error
    ended = [(" ".join(job.overrides or []), job.return_value) for batch in batches for job in batch]
    failed = [(told, end) for told, end in ended if end["code"]]
    text = table([(told, end["told"]) for told, end in ended], indent="")
    figures = {"verb": verb, "combinations": [{"options": told} | end for told, end in ended]}
    if failed:
        print(text)
        failure = error_of(int(failed[0][1]["code"]))(
            f"{len(failed)} of {len(ended)} combinations failed, the first of them {failed[0][0]}."
        )
        failure.details = figures
        raise failure
    return Result(text, figures)


def _recipe(words: Sequence[str]) -> str:
    from worldrl.cli import RECIPES

    if not words or words[0] not in RECIPES:
        raise ConfigError(f"sweep must be followed by a verb, one of {', '.join(RECIPES)}, got {list(words[:1])}.")
    return words[0]


def _one(tree: Any) -> dict[str, Any]:
    """Run one combination, in this process or in another, and say how it ended."""
    from hydra.core.hydra_config import HydraConfig

    verb = str(HydraConfig.get().job.config_name)
    try:
        result = import_module(f"worldrl.recipes.{verb}").run(to_config(verb, tree))
    except WorldRLError as error:
        return {"told": str(error), "code": error.exit_code}
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return {"told": f"unexpected error, {type(error).__name__}: {error}", "code": 1}
    lines = [] if result is None else str(result).splitlines()
    return {"told": f"done, {lines[0]}" if lines else "done", "code": 0, "figures": figures_of(result)}
