"""The table of commands: `pytest tests/test_cli.py`."""

import inspect
import subprocess
import sys

import pytest

from worldwidth import cli

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
