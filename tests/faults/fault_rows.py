"""The faults that are injected, and what is promised for each: the words of ``docs/faults.md``."""

from dataclasses import dataclass

CHAPTERS = {
    "Checkpoints": range(1, 19),
    "Data sets, videos, caches": range(19, 37),
    "Environments and policies": [*range(37, 40), *range(44, 50)],
    "Numbers": range(40, 44),
    "Configuration": [50, 51, 52, 56, 64],
    "Device and drawing": [53, 54, 55, 58],
    "Process": [57, 59, 61, 62, 63],
    "Network": [60],
}
"""Which faults stand together."""


@dataclass(frozen=True)
class Row:
    """A fault, what is promised, and a remark; a row that nothing is tested of is answered by its remark."""

    fault: str
    promise: str
    remark: str = ""


ROWS: dict[int, Row] = {
    1: Row("weights, config or manifest cut off", "CheckpointError (exit 4) that names the file"),
    2: Row(
        "one bit flipped in a checkpoint or in a shard of a data set",
        "CheckpointError or DataError that names the file; `worldrl verify FOLDER` lists it",
    ),
    3: Row("no manifest, or only what a killed run left unfinished", "not taken for a checkpoint; the others are read"),
    4: Row("kill -9 in the middle of a save", "the old or the new checkpoint, whole; leftovers are swept"),
    5: Row("kill -9 between a save and the removal of the one before", "one that is whole is always there"),
    6: Row("a full disk, or a file that may not grow, during a save", "StorageError (exit 8); the old one stays"),
    7: Row("an output folder that cannot be written", "StorageError before anything is computed"),
    8: Row("a pickle with a payload under the name of weights", "refused, and the payload has not run"),
    9: Row(
        "a zip of stable-baselines3 with a payload in `data`",
        "its weights are read, the payload has not run",
        "There is no way to ask for more than the weights.",
    ),
    10: Row("a config that names a class to import", "CheckpointError, and nothing was imported"),
    11: Row(
        "JSON that is huge, deep, has NaN, or a name twice",
        "CheckpointError at once, before a large file is read",
    ),
    12: Row(
        "tensors missing, unknown, renamed, of another shape or type",
        "CheckpointError that names the first five; there is no way of loading the rest",
    ),
    13: Row("a checkpoint of a newer format", "CheckpointError that says which release wrote it, and to upgrade"),
    14: Row("a policy of another action or observation space", "refused with both, before a step is taken"),
    15: Row("stopped at a step and resumed, against not stopped", "the same parameters, bit for bit, on a CPU"),
    16: Row("resumed with another config", "what may change is told, the rest refused"),
    17: Row("two processes train into one folder", "the second is refused; the lock of a dead one is taken over"),
    18: Row("an archive with `../`, an absolute path or a link", "refused; nothing is written outside"),
    19: Row(
        "observations of another shape than the data set's", "DataError with episode, expected and got; not stored"
    ),
    20: Row(
        "NaN in actions, rewards or proprioception",
        "DataError with episode, array and step; not stored",
        "Nothing is dropped on its own: whoever records decides.",
    ),
    21: Row("as many observations as actions, no step, or rows that do not fit", "DataError that names the episode"),
    22: Row("float frames, channels first, another range", "refused: frames are uint8 `(h, w, 3)` everywhere"),
    23: Row("the id of a data set that leaves its folder, or no id", "ConfigError, and no folder was made anywhere"),
    24: Row(
        "a shard or an HDF5 file cut off",
        "DataError that names the file and how to go on with the rest",
        "`worldrl repair` takes damaged shards out and keeps the rest.",
    ),
    25: Row("kill -9 while episodes are recorded", "every whole shard can be read, the rest is swept"),
    26: Row(
        "a second writer on one data set",
        "both write, each into shards of its own; none is harmed",
        "Nothing is written into one HDF5 file by two.",
    ),
    27: Row(
        "films of no frame, of one frame, of odd sides, of changing size; damaged pictures",
        "written whole (odd sides padded), or DataError in one line and no film",
        "Films are only written, never read; painted masks are the pictures that are read.",
    ),
    28: Row("a film with another number of frames than rows", "DataError, and the tolerance is said"),
    29: Row("a LeRobot data set of another version", "DataError: needs v3.x, found it, and how to convert"),
    30: Row(
        "a path template with `{0.__class__}` or `../` in `info.json`",
        "DataError; no template is formatted, and no path leads out of the folder",
    ),
    31: Row("npy or npz with Python objects", "DataError, and the payload has not run"),
    32: Row("a header that declares far more than is there", "DataError before memory is taken for it"),
    33: Row(
        "features cached under other weights",
        "computed again; never given out",
        "There is no mode in which a miss is an error.",
    ),
    34: Row("frames, preprocessing or layer changed after caching", "a miss; what was cached stays for its own key"),
    35: Row("a torn cache, a flipped bit in it, two writers", "torn rows are computed again; the second is refused"),
    36: Row("no episode, one episode, none left to hold out", "DataError or ConfigError that says what is needed"),
    37: Row("NaN or inf in an action, real or imagined", "NumericsError before the simulator; the state is as before"),
    38: Row(
        "an action out of range, of another shape or of no numbers",
        "DataError; MuJoCo's own clip to [-1, 1], as their docs say",
    ),
    39: Row(
        "a step before reset, after the end, after close; close twice", "gymnasium's errors; closing twice is none"
    ),
    40: Row(
        "the world model gives NaN in one of many environments",
        "NumericsError with environment and step; all others are as before, and the step can be repeated",
        "There is no bundle of the last states: nothing has changed, so the step itself is at hand.",
    ),
    41: Row("a reward or success head gives 1e12", "a reward in [-penalty, 1]"),
    42: Row("MuJoCo becomes unstable", 'truncated, `info["mujoco_warning"]`, a finite reward and observation'),
    43: Row(
        "a loss that is not finite",
        "NumericsError with the step, before the weights change",
        "No step is skipped: at the first one training ends.",
    ),
    44: Row("the same seed twice, other batch sizes, other orders", "the same trajectories on a CPU"),
    45: Row("the three autoreset modes", "the same transitions as gymnasium's SyncVectorEnv"),
    46: Row("truncation under stable-baselines3", "the true last observation, and only truncations are bootstrapped"),
    47: Row("gymnasium's and stable-baselines3's checkers on every id", "they find nothing"),
    48: Row("a world model that promises too much", "guarded training gains what is real; unguarded falls in"),
    49: Row("a planner that looks into the simulator", "it has no way to: planning touches nothing but observations"),
    50: Row("a misspelt option", "ConfigError (exit 2): did you mean ...?"),
    51: Row(
        "a number out of range, NaN, inf, of another type",
        "ConfigError that names it, at once",
        "A horizon that no episode is long enough for leaves its figures out; imagination takes that of the task.",
    ),
    52: Row("an interpolation in a circle, an unknown group, environment or encoder", "ConfigError with what there is"),
    53: Row("a GPU that is not there, cuda:9, mps, nonsense", "DeviceError or ConfigError; never the CPU in silence"),
    54: Row(
        "MUJOCO_GL unset, unknown, or of a library that is not there",
        "another one is tried, or RenderError (exit 6) that names what to install",
        "What draws nothing (drawing=false) goes on without any.",
    ),
    55: Row("a broken torchvision", "`worldrl doctor` says so; the package works without it"),
    56: Row("an extra that is not installed", 'exit 2 and the line `pip install "worldrl[...]"`'),
    57: Row("SIGINT or SIGTERM", "whole files and exit 130 or 143"),
    58: Row(
        "not enough memory",
        "DeviceError that says how much was asked for and what to lower",
        "Nothing is tried again with half a batch: the figures would be of another training.",
    ),
    59: Row(
        "a worker process dies",
        "an error in time, no one waits, what is whole stays",
        "gymnasium's AsyncVectorEnv is not used; workers are ours, Ray's or torch's.",
    ),
    60: Row("no network", "everything works, and what asks for the hub is refused in one sentence"),
    61: Row("TensorBoard fails", "training goes on, one warning"),
    62: Row("a wrong token, a foreign origin, a long message, a port that is taken", "refused; loopback only"),
    63: Row("another locale, spaces and letters in paths, a HOME that cannot be written, few files", "it works"),
    64: Row(
        "secrets in options or in the environment",
        "ConfigError, as options are written down; not in any file of the run",
    ),
}
