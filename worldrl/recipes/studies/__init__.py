"""Studies of what frozen features see and name: one module and one YAML each, run by ``worldrl experiment NAME``.

A study has arms, which differ in a few options and share the rest; every arm is run with every seed on the same
labelled scenes and the same cached features. Its module has three things: ``Options``, a dataclass with ``check``;
``needs(options)``, what must be made before; and ``run(options, seed=, stock=, folder=)``, which returns its figures.
"""

STUDIES = (
    "frozen_detr",
    "denseclip",
    "frozenseg",
    "weak_cube",
    "zero_shot",
    "mmrl",
    "gram",
    "grain",
    "limber",
    "ep_alm",
    "by_name",
    "text_reward",
)
"""Each is a module of this package and a file of ``configs/studies``."""
