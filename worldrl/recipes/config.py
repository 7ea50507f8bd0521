"""From ``key=value`` words to the typed config of a recipe: composed by Hydra, and refused in one sentence.

A recipe module has a dataclass ``Config`` and a file ``configs/<verb>.yaml`` whose defaults list starts with
``<verb>_schema``. The dataclass refuses unknown options and wrong types; its ``check()``, if it has one, wrong ranges.
"""

import dataclasses
import difflib
import importlib
import importlib.resources
import json
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, get_type_hints

from worldrl.errors import ConfigError, first_line

SECRET = re.compile(r"(^|[._])(token|password|passwd|secret|api_?key|credentials?|private_key)$")
"""Names of options that would hold a secret."""
CONFIGS = "worldrl.configs"
"""The package whose YAML files are composed, and whose folders are the groups."""


@dataclass(frozen=True)
class Option:
    """One option as the help shows it; ``choices`` are the files of its config group, if it is one."""

    name: str
    type: str
    default: str
    help: str
    choices: tuple[str, ...] = ()


def compose(verb: str, overrides: Sequence[str] = (), *, schema: type | None = None) -> Any:
    """Compose the config of a recipe.

    Args:
        verb: The recipe; its YAML is ``configs/<verb>.yaml``.
        overrides: Words ``key=value`` in Hydra's grammar.
        schema: Its dataclass; ``Config`` of ``worldrl.recipes.<verb>`` if left out.

    Returns:
        An instance of the dataclass; components of type ``Any`` are plain dicts, ready for ``instantiate``.

    Raises:
        ConfigError: If an option is unknown, missing, of a wrong type or out of range.
    """
    schema = schema or _schema(verb)
    check_words(verb, overrides, schema=schema)
    return to_config(verb, _compose(verb, overrides, schema))


def to_config(verb: str, tree: Any) -> Any:
    """Return the typed config of a recipe from what Hydra composed.

    Raises:
        ConfigError: If an option is missing or out of range.
    """
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    try:
        config: Any = OmegaConf.to_object(tree)
        for name, value in flat_values(OmegaConf.to_container(tree, resolve=True)):
            _check_value(name, value)
        if hasattr(config, "check"):
            config.check()
    except MissingMandatoryValue as error:
        raise ConfigError(
            f"{error.full_key} must be given: write {error.full_key}=... after {verb}. {_see(verb)}"
        ) from error
    except (ValueError, OmegaConfBaseException) as error:
        raise ConfigError(f"{first_line(error)}. {_see(verb)}") from error
    return config


def check_words(verb: str, words: Sequence[str], *, schema: type | None = None) -> None:
    """Refuse words that are not ``key=value`` or of no option of a recipe.

    Raises:
        ConfigError: At the first.
    """
    for word in words:
        _check_name(verb, word, schema or _schema(verb))


def register(verb: str, *, schema: type | None = None) -> None:
    """Make a recipe's dataclass known to Hydra, as what its YAML begins with."""
    from hydra.core.config_store import ConfigStore
    from omegaconf import OmegaConf

    node = OmegaConf.structured(schema or _schema(verb))
    _thaw(node)
    ConfigStore.instance().store(name=f"{verb}_schema", node=node)


def _schema(verb: str) -> type:
    schema: type = importlib.import_module(f"worldrl.recipes.{verb}").Config
    return schema


def options(verb: str, *, schema: type | None = None) -> list[Option]:
    """List the options of a recipe in the order of its dataclass, with the defaults that its YAML leaves them."""
    schema = schema or _schema(verb)
    return list(_options(schema, _compose(verb, (), schema), prefix=""))


def changes(config: Any, *, leave: Collection[str] = (), quoted: bool = False) -> list[str]:
    """Return the words that make a recipe's defaults into this config; what the defaults lack has a plus.

    Args:
        config: An instance of a recipe's dataclass.
        leave: Options that are not told.
        quoted: Whether texts are quoted, for a command line rather than for a reader.
    """
    now, before = (flat(dataclasses.asdict(one), quoted=quoted) for one in (config, type(config)()))
    changed = [name for name, value in now.items() if value != before.get(name) and name not in leave]
    return [f"{'' if name in before else '+'}{name}={now[name]}" for name in changed]


def flat(tree: Mapping[str, Any], prefix: str = "", *, quoted: bool = False) -> dict[str, str]:
    """Return the leaves of nested options by dotted name, each as it is typed, texts in quotes where asked."""
    leaves: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            leaves |= flat(value, f"{prefix}{name}.", quoted=quoted)
        else:
            typed = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
            leaves[prefix + name] = typed if quoted else typed.strip('"')
    return leaves


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``: did you mean 'x'?`` where a known word is close, ``.`` where none is."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f": did you mean '{close[0]}'?" if close else "."


def _compose(verb: str, overrides: Sequence[str], schema: type) -> Any:
    import hydra
    from hydra.errors import HydraException

    register(verb, schema=schema)
    with hydra.initialize_config_module(CONFIGS, version_base="1.3"):
        try:
            return hydra.compose(verb, overrides=list(overrides))
        except (HydraException, ValueError) as error:
            _refuse(error, verb, overrides, schema)


def _thaw(node: Any) -> None:
    """Let Hydra merge into the schema of a frozen dataclass, which OmegaConf makes read-only."""
    from omegaconf import OmegaConf

    OmegaConf.set_readonly(node, None)
    for key in node:
        if not OmegaConf.is_missing(node, key) and OmegaConf.is_dict(node[key]):
            _thaw(node[key])


def _check_name(verb: str, word: str, schema: type) -> None:
    """Refuse what is not ``key=value`` or starts with a key that the dataclass does not have.

    Hydra's ``+`` and ``~`` may add to and take from a component, but not from the dataclass itself.
    """
    key, equals, _ = word.partition("=")
    bare = key.lstrip("+~")
    if not (equals or key.startswith("~")):
        raise ConfigError(f"options must be written key=value, got '{word}'. {_see(verb)}")
    names = [field.name for field in dataclasses.fields(schema)]
    top = bare.rpartition("@")[2].replace("/", ".").split(".")[0]
    if top not in names or (bare != key and bare == top):
        raise ConfigError(f"'{key}' is not an option of {verb}{did_you_mean(top, names)} {_see(verb)}")


def flat_values(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every leaf of nested options with its dotted name, which items of a list share."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from flat_values(value, f"{name}.{key}" if name else str(key))
    elif isinstance(tree, list):
        for value in tree:
            yield from flat_values(value, name)
    else:
        yield name, tree


def _check_value(name: str, value: Any) -> None:
    """Raise ValueError where a number is none, or a secret is given: options are written into the folder of a run."""
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} must be a number, got {value}")
    if value and SECRET.search(name.lower()):
        raise ValueError(f"{name} must not be an option, for those are written down: hand secrets over otherwise")


def _refuse(error: Exception, verb: str, overrides: Sequence[str], schema: type) -> NoReturn:
    """Turn what Hydra says into one sentence about the option it is about."""
    from hydra.errors import MissingConfigException
    from omegaconf.errors import ConfigAttributeError, ConfigKeyError, ValidationError

    cause = error.__cause__
    if isinstance(error, MissingConfigException) and error.options:
        group, _, wrong = str(error.missing_cfg_file).rpartition("/")
        problem = (
            f"{group} must be one of {', '.join(error.options)}, got '{wrong}'{did_you_mean(wrong, error.options)}"
        )
    elif isinstance(cause, ConfigAttributeError | ConfigKeyError):
        siblings = [str(key) for key in cause.parent_node or ()]
        problem = f"'{cause.full_key}' is not an option of {verb}{did_you_mean(str(cause.key), siblings)}"
    elif isinstance(cause, ValidationError):
        given = dict(word.split("=", 1) for word in overrides if "=" in word).get(str(cause.full_key), "that")
        problem = f"{cause.full_key} must be {_type_of(schema, str(cause.full_key))}, got {given}."
    elif isinstance(error, MissingConfigException):
        raise error
    else:
        problem = f"{verb} cannot use these options: {first_line(error)}. Quote a value with a comma or an equals sign."
    raise ConfigError(f"{problem} {_see(verb)}") from error


def _options(schema: type, tree: Any, prefix: str) -> Iterator[Option]:
    from omegaconf import OmegaConf

    values: Any = OmegaConf.to_container(tree)
    for field in dataclasses.fields(schema):
        kind = _type_of(schema, field.name)
        nested = get_type_hints(schema)[field.name]
        if dataclasses.is_dataclass(nested) and isinstance(nested, type):
            if not prefix and (files := _choices(field.name)):
                yield Option(field.name, "group", "", "Sets several of the options below at once.", files)
            yield from _options(nested, tree[field.name], f"{prefix}{field.name}.")
            continue
        missing = OmegaConf.is_missing(tree, field.name)
        default = "required" if missing else _shown(values[field.name])
        choices = _choices(field.name) if not prefix and kind == "Any" else ()
        text = str(field.metadata.get("help", ""))
        yield Option(prefix + field.name, "component" if kind == "Any" else kind, default, text, choices)


def _choices(group: str) -> tuple[str, ...]:
    folder = importlib.resources.files(CONFIGS) / group
    files = folder.iterdir() if folder.is_dir() else ()
    return tuple(sorted(file.name.removesuffix(".yaml") for file in files if file.name.endswith(".yaml")))


def _type_of(schema: type, dotted: str) -> str:
    """Return how the dataclass annotates an option, or ``another type`` inside a component."""
    head, _, rest = dotted.partition(".")
    hint = get_type_hints(schema).get(head.split("[")[0])
    if rest:
        return _type_of(hint, rest) if isinstance(hint, type) and dataclasses.is_dataclass(hint) else "another type"
    return hint.__name__ if isinstance(hint, type) and not getattr(hint, "__args__", ()) else _plain(str(hint))


def _plain(hint: str) -> str:
    return hint.replace("typing.", "").replace("pathlib.", "").replace("NoneType", "None")


def _shown(value: Any) -> str:
    """Return a default on one line; a component shows what it builds."""
    if isinstance(value, dict):
        return str(value["_target_"]).rpartition(".")[2] if "_target_" in value else str(value)
    return "null" if value is None else str(value)


def _see(verb: str) -> str:
    return f"See worldrl {verb} --help."
