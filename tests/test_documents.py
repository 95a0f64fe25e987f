"""The documents say what is true of the code: versions, the picture of the packages, every path, link and command.

pytest tests/test_documents.py
"""

import contextlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

from worldwidth.cli import _parser, main
from worldwidth.commands.architecture import HOLDS, PAGE, picture, with_picture
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.imports import PLUMBING

ROOT = Path(__file__).parents[1]
TODAY = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md")]
"""Those that name nothing but what there is; the others tell of the past as well."""
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
WRITTEN = ("data/", "models/", "results/", "plots/", "timings/", "partial/", ".dvc/", "report/")
"""Where the pipeline writes: no file of a fresh clone has to lie there."""


def code_of(page: Path) -> list[str]:
    """The code spans and the lines of code blocks."""
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    return [*re.findall(r"`([^`]+)`", prose), *(line for block in blocks for line in block.splitlines())]


def test_versions_agree() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"] == version
    top = re.search(r"^## \[(.+?)\] - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert top is not None
    assert top[1] == version


def test_the_picture_of_the_packages_is_that_of_the_code() -> None:
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    assert page == with_picture(page, picture(ROOT)), "run `make render`"
    folders = (path for path in (ROOT / "src" / "worldwidth").iterdir() if any(path.glob("*.py")))
    assert HOLDS.keys() == {*(path.name for path in folders), "stages"}


def test_the_picture_has_every_import_once_or_on_a_longer_way(tmp_path: Path) -> None:
    """Of three packages: the direct arrow of a chain's ends is left out, an arrow against the order is not."""
    for package in HOLDS:
        folder = tmp_path / ("stages" if package == "stages" else f"src/worldwidth/{package}")
        folder.mkdir(parents=True)
        (folder / "one.py").write_text("")
    for package, imported in {"data": "core settings", "settings": "core model", "stages": "data core"}.items():
        folder = tmp_path / ("stages" if package == "stages" else f"src/worldwidth/{package}")
        (folder / "one.py").write_text("".join(f"import worldwidth.{name}.one\n" for name in imported.split()))
    arrows = re.findall(r"(\w+) --> (\w+)", picture(tmp_path))
    assert arrows == [("stages", "data"), ("data", "settings"), ("settings", "core"), ("settings", "model")]
    dashed = re.search(r"class (\S+) plumbing", picture(tmp_path))
    assert dashed is not None
    assert {*dashed[1].split(",")} == {*PLUMBING} - {"cli"}


def test_a_page_without_a_place_for_the_picture_is_refused() -> None:
    with pytest.raises(WorldwidthError, match=r"docs/architecture\.md: no block"):
        with_picture("# Architecture\n", "flowchart TD\n")


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_every_path_and_module_exists(page: Path) -> None:
    code = code_of(page)
    paths = {found for text in code for found in re.findall(r"(?:[\w.-]+/)+[\w.-]+", text)}
    named = {path for path in paths if Path(path).suffix and not path.startswith(WRITTEN) and "NAME" not in path}
    assert {
        path for path in named if not any((ROOT / where / path).exists() for where in ("", "src/worldwidth"))
    } == set()
    modules = {found for text in code for found in re.findall(r"\bworldwidth(?:\.\w+)+", text)}
    assert {name for name in modules if not (ROOT / "src" / f"{name.replace('.', '/')}.py").exists()} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    assert [link for link in links if ":" not in link and not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", TODAY, ids=lambda page: page.name)
def test_every_command_exists(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = code_of(page)
    targets = {found for text in code for found in re.findall(r"\bmake ([a-z][a-z-]*)", text)}
    rules = " ".join(re.findall(r"^([a-z -]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert targets - set(rules.split()) == set()
    for command in {found for text in code for found in re.findall(r"\bworldwidth ((?:slurm )?[a-z]+)\b", text)}:
        monkeypatch.setattr("sys.argv", ["worldwidth", *command.split(), "-h"])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0, command


def commands_of(page: Path, program: str) -> list[list[str]]:
    """The words after ``program`` in every command of a page, the comments left out."""
    parts = [part.strip() for text in code_of(page) for part in re.split(r"&&|;|\|| #|\.\.\.", text)]
    return [shlex.split(part)[1:] for part in parts if part.split()[:1] == [program] and part.count('"') % 2 == 0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_line_is_taken_as_it_is_written(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With its options; make's variables are those of the Makefile. N stands for a number."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    refused = []
    for words in commands_of(page, "worldwidth"):
        with contextlib.suppress(SystemExit):
            _parser().parse_args(["1" if word == "N" else word for word in words])
        said = capsys.readouterr().err
        if said and "arguments are required" not in said:
            refused.append(said)
    assert refused == []
    for words in commands_of(page, "make"):
        variables = {word.partition("=")[0] for word in words if "=" in word}
        assert {name for name in variables if f"$({name})" not in makefile} == set(), words
