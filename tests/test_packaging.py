"""The wheel carries every package and data file of the tree, under the name the code imports it by."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def behind_link(path: Path) -> bool:
    return any(part.is_symlink() for part in (path, *path.parents) if ROOT in part.parents)


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_package_of_the_tree_is_listed() -> None:
    found = {
        ".".join([name, *init.parent.relative_to(ROOT / folder).parts])
        for name, folder in SETUPTOOLS["package-dir"].items()
        for init in (ROOT / folder).rglob("__init__.py")
        if not behind_link(init)
    }
    assert found == set(SETUPTOOLS["packages"])


def test_every_folder_with_code_is_a_package() -> None:
    for folder in set(SETUPTOOLS["package-dir"].values()):
        for file in (ROOT / folder).rglob("*.py"):
            assert (file.parent / "__init__.py").exists(), file


@pytest.mark.parametrize("name", ["envs", "agents", "configs"])
def test_checkers_see_the_top_level_folders_inside_the_package(name: str) -> None:
    link = ROOT / "worldrl" / name
    assert link.is_symlink()
    assert link.resolve() == ROOT / name


def test_every_data_file_is_shipped() -> None:
    for name, folder in SETUPTOOLS["package-dir"].items():
        top = ROOT / folder
        shipped = {
            file for pattern in SETUPTOOLS["package-data"].get(name, ()) for file in top.glob(pattern) if file.is_file()
        }
        present = {file for file in top.rglob("*") if file.is_file() and not behind_link(file)}
        code = {file for file in present if file.suffix in (".py", ".pyc")}
        assert present - code == {file for file in shipped if not behind_link(file)}, name


def test_licence_and_notices_travel_with_the_wheel() -> None:
    for name in PROJECT["project"]["license-files"]:
        assert (ROOT / name).stat().st_size > 500


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    for line in [*PROJECT["project"]["dependencies"], *(line for extra in extras for line in extra)]:
        requirement = Requirement(line)
        assert requirement.specifier.contains(pins()[requirement.name]), line


def test_the_notices_name_the_weights_that_setup_installs() -> None:
    setup, notice = (ROOT / "scripts" / "setup.sh").read_text(), (ROOT / "NOTICE.md").read_text()
    weights = re.search(r'^WEIGHTS="(.*)"', setup, re.MULTILINE)
    assert weights is not None
    for requirement in weights[1].split():
        package, version = requirement.split("==")
        assert f"`{package}` {version}" in notice
