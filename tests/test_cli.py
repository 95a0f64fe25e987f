"""The table of commands: `pytest tests/test_cli.py`."""

from worldwidth.core.command import exit_codes

import inspect
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from worldwidth import cli

ROOT = Path(__file__).parents[1]
COMMANDS = {command.words: command for command in cli.COMMANDS}


@pytest.mark.parametrize("words", [words for words, command in COMMANDS.items() if command.function])
def test_every_option_is_a_parameter_and_every_parameter_is_filled(words: str) -> None:
    parameters = inspect.signature(cli._imported(COMMANDS[words].function)).parameters
    options = {
        str(keywords.get("dest", names[-1].removeprefix("--"))) for names, keywords in COMMANDS[words].options
    } - {"partial"}  # says what the one kind of `worldwidth plots` is, and is always given
    required = {name for name, parameter in parameters.items() if parameter.default is parameter.empty}
    assert required - {"settings"} <= options <= set(parameters)


def test_help_loads_nothing_slow() -> None:
    code = "import sys; from worldwidth import cli; cli._parser().format_help(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"numpy", "pydantic", "yaml", "dvc", "torch", "jinja2", "matplotlib"}.isdisjoint(loaded)


def help_of(words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> str:
    assert ended(monkeypatch, *words.split(), "--help") == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("words", ["", *COMMANDS])
@pytest.mark.parametrize("columns", ["80", "200"])
def test_help_fits_80_columns_and_ends_with_an_example(
    words: str, columns: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    lines = help_of(words, monkeypatch, capsys).splitlines()
    assert max(map(len, lines)) <= 80
    if words and COMMANDS[words].example:
        assert lines[-1] == f"example: {COMMANDS[words].example}"
        assert lines[-1].startswith(f"example: worldwidth {words}")
        cli._parser().parse_args(COMMANDS[words].example.split()[1:])


def test_help_lists_what_people_call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown = help_of("", monkeypatch, capsys) + help_of("slurm", monkeypatch, capsys)
    listed = set(re.findall(r"(?m)^    (\w+)", shown))
    internal = {words for words, command in COMMANDS.items() if not command.example}
    assert internal == {"slurm", "slurm work", "job", "work"}
    assert listed == {words.split()[-1] for words in COMMANDS.keys() - internal} | {"slurm"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["run", "--jobs", "0"], "argument --jobs: found '0'; it must be a whole number of at least 1"),
        (["run", "--gpus", "0,,1"], "argument --gpus: found '0,,1'; it must be ids with commas between them, as 0,1"),
        (["widths", "--seeds", "-1"], "argument --seeds: found '-1'; it must be a whole number of at least 0"),
        (["widths", "--seeds", "one"], "argument --seeds: found 'one'; it must be a whole number of at least 0"),
        (["slurm", "plan", "--seeds", "1.5"], "argument --seeds: found '1.5'; it must be a whole number of at least 0"),
        (["plots"], "the following arguments are required: --partial"),
        (["slurm"], "the following arguments are required: COMMAND"),
    ],
)
def test_a_bad_command_line_is_one_line_after_the_usage(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["worldwidth", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err.splitlines()[-1].endswith(f"error: {said}")


def ended(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["worldwidth", *words])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    return int(stopped.value.code or 0)


@pytest.mark.parametrize("words", ["run", "plan", "check", "compare", "widths", "job cities", "slurm plan"])
def test_elsewhere_a_command_says_where_to_go(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT / "src")
    assert ended(monkeypatch, *words.split()) == 2
    said = f"worldwidth: params.yaml: not found; run this in the project's folder: `cd {shlex.quote(str(ROOT))}`\n"
    assert capsys.readouterr().err == said
    monkeypatch.chdir(tmp_path)
    assert ended(monkeypatch, *words.split()) == 2
    assert capsys.readouterr().err == "worldwidth: params.yaml: not found; run this in the project's folder\n"


@pytest.mark.filterwarnings("ignore")  # DVC's own dependencies warn
@pytest.mark.parametrize("words", ["plan", "compare", "widths", "job check"])
def test_without_git_a_command_says_how_to_start_it(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in the files that a hosting site packs."""
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("src", "stages", "templates", "docs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    for name in ("params.yaml", "dvc.yaml", "dvc.lock"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".dvc").mkdir()
    shutil.copy(ROOT / ".dvc" / "config", tmp_path / ".dvc")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    assert ended(monkeypatch, *words.split()) == 2
    said = capsys.readouterr().err
    assert "not a git repository" in said
    assert said.endswith("; here `git init && git add --all && git commit --message start` makes one\n")
    assert said.count("\n") == 1


def test_text_of_others_in_an_error_of_the_system_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit), exit_codes():
        raise OSError(28, "No space left on device", "a\x1b[2J\nb")
    assert capsys.readouterr().err == "worldwidth: a\\x1b[2J\\nb: No space left on device\n"
