"""The command line: ``worldrl VERB key=value ...``.

A verb is a recipe (a module with ``Config`` and ``run``) or a tool (a function of a module in ``ROOMS``). Modules are
imported only when their verb is asked for, so that the help costs nothing. With ``--json``, what a verb returns is the
one JSON object on standard output, and whatever else it says goes to standard error; an error is an object too.
"""

import errno
import io
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from worldrl import __version__, signals
from worldrl.allocation import keep_freed_memory
from worldrl.errors import ConfigError, DeviceError, StorageError, WorldRLError, first_line
from worldrl.recipes.config import compose, did_you_mean, options
from worldrl.recipes.launch import tell_launcher
from worldrl.recipes.results import figures_of, plain, to_json
from worldrl.recipes.table import table
from worldrl.writable import require_writable

RECIPES: dict[str, tuple[str, str]] = {
    "collect": ("worldrl.recipes.collect", "Record episodes in MuJoCo: by an expert, by a policy, or at random."),
    "scenes": ("worldrl.recipes.scenes", "Make random labelled scenes, or show them: boxes, masks, cubes, captions."),
    "annotate": ("worldrl.recipes.annotate", "Annotate a few frames, by the simulator or by hand: for few-shot masks."),
    "masks": ("worldrl.recipes.masks", "Measure masks against the simulator's, on episodes that nobody annotated."),
    "probe": ("worldrl.recipes.probe", "Measure how well tokens of frozen encoders tell where things are."),
    "encode": ("worldrl.recipes.encode", "Turn the frames of episodes into tokens with a frozen encoder, each once."),
    "fit": ("worldrl.recipes.fit", "Fit a world model and its success classifier to encoded episodes."),
    "goals": ("worldrl.recipes.goals", "Learn from sentences what holds, so that a goal can be given as text."),
    "clone": ("worldrl.recipes.clone", "Clone the expert's episodes into a first policy."),
    "offline": ("worldrl.recipes.offline", "Learn a baseline from the same episodes: Diffusion Policy, TD3+BC or IQL."),
    "refine": ("worldrl.recipes.refine", "Improve a policy by PPO in imagination, without a step of MuJoCo."),
    "train": ("worldrl.recipes.train", "Train in the imagination of an object-centric world model, and in MuJoCo."),
    "robust": ("worldrl.recipes.robust", "Measure a trained agent where objects are missing, swapped or unread."),
    "evaluate": ("worldrl.recipes.evaluate", "Measure the success of a policy in MuJoCo, with its interval."),
    "fidelity": ("worldrl.recipes.fidelity", "Say how far a world can be trusted, on episodes it has not seen."),
    "distil": ("worldrl.recipes.distil", "Teach a world to sample in one evaluation, and say what that costs."),
    "sharpen": ("worldrl.recipes.sharpen", "Say what tuning the decoder of visual tokens on imagined ones brings."),
    "plan": ("worldrl.recipes.plan", "Measure planning in a world in MuJoCo: the baseline of refinement."),
    "record": ("worldrl.recipes.record", "Make videos and pictures of a policy, real beside imagined."),
    "report": ("worldrl.recipes.report", "Put a run on one page: figures, curves, videos and what was hallucinated."),
    "play": ("worldrl.recipes.play", "Play an imagined environment live, MuJoCo beside it, in a page of this machine."),
    "bench": ("worldrl.recipes.bench", "Time every stage on this machine."),
    "demo": ("worldrl.recipes.demo", "Run every stage on one task."),
    "evolve": ("worldrl.recipes.evolve", "Refine, record a few real episodes, fit again, refine: rounds of both."),
    "experiment": ("worldrl.recipes.experiment", "Run an experiment as a grid that goes on where it stopped."),
    "reproduce": ("worldrl.recipes.reproduce", "Run a published experiment as a grid that goes on where it stopped."),
    "seeds": ("worldrl.recipes.seeds", "Repeat the demo over seeds and make the table of its gain."),
}
TOOLS: dict[str, tuple[str, str]] = {
    "sweep": ("VERB key=a,b ...", "Run a verb for every combination of options, by one of Hydra's launchers."),
    "inspect": ("PATH", "Say what a checkpoint, a data set or a run is: shapes, sizes, episodes, versions."),
    "verify": ("PATH", "Hold a checkpoint, a data set or a run to its hashes; name every damaged file."),
    "repair": ("PATH", "Take damaged shards out of data sets, and remove what dead runs left unfinished."),
    "convert": ("FROM TO [format=minari | lerobot]", "Bring a data set into or out of Minari or LeRobot v3."),
    "hub": (
        "push FOLDER OWNER/NAME [private=false] | pull OWNER/NAME FOLDER [revision=NAME]",
        "Bring a checkpoint to the Hugging Face hub or from it.",
    ),
    "encoders": ("list | show NAME | install NAME [archive=FILE] | verify NAME", "Look after pretrained weights."),
    "envs": ("", "List the environments."),
    "doctor": ("", "Say what this machine has: versions, device, drawing, weights."),
}
ROOMS = {
    "sweep": "sweep", "encoders": "inspect", "envs": "inspect", "doctor": "inspect", "inspect": "tools.inspect",
    "verify": "tools.verify", "repair": "tools.repair", "convert": "tools.convert", "hub": "tools.hub",
}  # fmt: skip
"""The module of each tool, in ``worldrl.recipes``."""
NAMED = {"reproduce": "experiment", "experiment": "name", "scenes": "action", "report": "run", "play": "run"}
"""Verbs whose first word may stand alone, and the option that it is."""
UNWRITABLE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENAMETOOLONG,
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit code: 0, that of a ``WorldRLError``, 130 or 143 when stopped, 1 for a bug.

    The first SIGINT or SIGTERM stops in good order, the second at once (``worldrl.signals``).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    keep_freed_memory()
    debug, as_json = "--debug" in words, "--json" in words
    words = [word for word in words if word not in ("--debug", "--json")]
    try:
        with signals.listen():
            if as_json:
                with _nothing_on_stdout():
                    result = _run(words)
                print(to_json(figures_of(result)))
            elif (result := _run(words)) is not None and str(result):
                print(result)
    except BrokenPipeError:  # whoever read our output has gone, e.g. head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exception(error)
        sentence, code = _verdict(error)
        if not tell_launcher(sentence, code):
            print(f"worldrl: {sentence}", file=sys.stderr)
        if as_json:
            details = plain(getattr(error, "details", {}))
            told = {"kind": type(error).__name__, "message": sentence, "exit_code": code}
            print(to_json({"error": {**details, **told}}))
        return code
    return 0


@contextmanager
def _nothing_on_stdout() -> Iterator[None]:
    """Send to standard error what is written to standard output, by this process or by one that it starts."""
    sys.stdout.flush()
    kept = None
    with suppress(io.UnsupportedOperation, OSError, AttributeError):  # no file at all, e.g. in a notebook
        if sys.stdout.fileno() == 1:
            kept = os.dup(1)
            os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if kept is not None:
            sys.stdout.flush()  # what somebody wrote past the redirection
            os.dup2(kept, 1)
            os.close(kept)


def _run(words: list[str]) -> object:
    """Run one verb and return what it has to say."""
    if not words or words[0] in ("--help", "-h", "help"):
        return _help()
    verb, rest = words[0], words[1:]
    if verb in NAMED and rest and "=" not in rest[0] and not rest[0].startswith("-"):
        rest = [f"{NAMED[verb]}={rest[0]}", *rest[1:]]
    if verb == "--version":
        return __version__
    if verb not in RECIPES and verb not in TOOLS:
        known = [*RECIPES, *TOOLS]
        raise ConfigError(f"'{verb}' is not a verb{did_you_mean(verb, known)} See worldrl --help.")
    if "--help" in rest or "-h" in rest:
        return _help_of(verb)
    if flags := [word for word in rest if word.startswith("-")]:
        raise ConfigError(f"options must be written key=value, got '{flags[0]}'. See worldrl {verb} --help.")
    if verb in TOOLS:
        tool: object = getattr(import_module(f"worldrl.recipes.{ROOMS[verb]}"), verb)(rest)
        return tool
    module = import_module(RECIPES[verb][0])
    config = compose(verb, rest, schema=module.Config)
    _check_out(config)
    result: object = module.run(config)
    return result


def _check_out(config: Any) -> None:
    """Refuse an ``out`` that cannot be written now, rather than when all has been computed."""
    if getattr(config, "out", None):
        require_writable(Path(config.out))


def _help() -> str:
    verbs, tools = (
        table([(verb.ljust(8), line) for verb, (_, line) in entries.items()], indent="  ")
        for entries in (RECIPES, TOOLS)
    )
    closing = (
        "worldrl VERB --help lists the options of a verb; --json makes what it says one JSON object; --debug "
        "shows where an error comes from."
    )
    return "\n\n".join(["worldrl VERB key=value ...", verbs, tools, closing])


def _help_of(verb: str) -> str:
    if verb in TOOLS:
        usage, line = TOOLS[verb]
        return f"worldrl {verb} {usage}".rstrip() + f"\n\n{line}"
    module, line = RECIPES[verb]
    rows = []
    for option in options(verb, schema=import_module(module).Config):
        choices = f" One of {', '.join(option.choices)}." if option.choices else ""
        rows.append((option.name, option.type, option.default, f"{option.help}{choices}".strip()))
    return "\n\n".join([f"worldrl {verb} key=value ...", line, table(rows, indent="  ")])


def _verdict(error: BaseException) -> tuple[str, int]:
    """Return the sentence and the exit code for whatever ended a verb."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted.", getattr(error, "exit_code", 130)
    if hasattr(error, "sigval"):  # torch's launcher hears signals for its processes
        return "interrupted.", 128 + int(error.sigval)
    if isinstance(error, OSError) and error.errno in UNWRITABLE:
        where = error.filename or "a file"
        return f"{where}: {error.strerror}. Free some space or choose another folder.", StorageError.exit_code
    if isinstance(error, WorldRLError):
        return str(error), error.exit_code
    if _is_out_of_memory(error):
        asked = first_line(error)
        return f"not enough memory ({asked}): lower batch_size, slots or envs.", DeviceError.exit_code
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"unexpected error, {text} (--debug shows where it comes from).", 1


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether memory ran out: numpy's, a GPU's, or the CPU's, for which torch has no class of its own."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    return bool(kinds & {"MemoryError", "OutOfMemoryError"}) or "can't allocate memory" in str(error)


if __name__ == "__main__":
    sys.exit(main())
