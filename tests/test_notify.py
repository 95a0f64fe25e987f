"""`execution.notify`: called when a long command has ended, and never in its way. `pytest tests/test_notify.py`."""

import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from command_line import ROOT
from dvc_yaml import Stages
from worldwidth import cli
from worldwidth.core.errors import WorldwidthError
from worldwidth.core.signals import EXIT_RETRY, Stopped
from worldwidth.engine import notify, run
from worldwidth.engine.notify import notifying
from worldwidth.settings.axes import with_edits
from worldwidth.settings.load import load
from worldwidth.settings.schema import Settings

_SAID = [f"$WORLDWIDTH_{name}" for name in ("COMMAND", "OUTCOME", "MESSAGE", "FOLDER")]
TELL = f'printf %s "{"|".join(_SAID)}" > told'


def params_with(value: str) -> None:
    """Write params.yaml with a line ``notify`` for every scale that saves so often."""
    text, key = (ROOT / "params.yaml").read_text(encoding="utf-8"), "      resume_seconds: 10\n"
    Path("params.yaml").write_text(text.replace(key, f"{key}      notify: {value}\n"))


def told_by(settings: Settings, line: str) -> Settings:
    return with_edits(settings, {f"scales.{settings.scale}.execution.notify": line})


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (None, "done|"),
        (WorldwidthError("it is broken"), "failed|it is broken"),
        (Stopped(EXIT_RETRY, "base is saved"), "stopped|base is saved"),
        (KeyboardInterrupt(), "stopped|"),
        (RuntimeError("nobody foresaw it"), "failed|RuntimeError: nobody foresaw it"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_is_told_how_it_ended(
    error: BaseException | None, outcome: str, settings: Settings, empty_project: Path
) -> None:
    passed_on = pytest.raises(type(error)) if error else nullcontext()
    with passed_on, notifying(told_by(settings, TELL), "worldwidth run"):
        if error:
            raise error
    assert Path("told").read_text() == f"worldwidth run|{outcome}|{empty_project}"


def test_it_is_off_by_default(settings: Settings, empty_project: Path) -> None:
    assert {scale.execution.notify for scale in settings.scales.values()} == {""}
    with notifying(settings, "worldwidth run"):
        pass
    assert list(empty_project.iterdir()) == []


@pytest.mark.parametrize(("line", "why"), [("exit 3", "ended with 3"), ("sleep 9", "not done after 0.2 s")])
def test_a_notice_that_fails_is_one_line_and_changes_nothing(
    line: str,
    why: str,
    settings: Settings,
    empty_project: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(notify, "_SECONDS", 0.2)
    with pytest.raises(WorldwidthError, match="it is broken"), notifying(told_by(settings, line), "worldwidth run"):
        raise WorldwidthError("it is broken")
    assert capsys.readouterr().err == f"worldwidth: execution.notify: {why}: {line}\n"


def test_the_command_line_tells_of_its_long_commands(empty_project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "echo $WORLDWIDTH_COMMAND $WORLDWIDTH_OUTCOME > told"
    params_with(f"'{line}'")
    assert load().selected.execution.notify == line

    def fails(settings: Settings) -> None:
        raise WorldwidthError("not done")

    monkeypatch.setattr(run, "run_study", fails)
    monkeypatch.setattr(sys, "argv", ["worldwidth", "run"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert Path("told").read_text() == "worldwidth run failed\n"
    long = {command.words for command in cli.COMMANDS if command.is_long}
    assert long == {"run", "sweep", "widths", "tune", "frontier"}


@pytest.mark.parametrize("value", ["3", "[a, b]", '"two\\nlines"', "null"])
def test_it_is_a_line_of_text(value: str, empty_project: Path) -> None:
    params_with(value)
    with pytest.raises(WorldwidthError, match=r"^params.yaml: scales.smoke.execution.notify: "):
        load()


def test_no_stage_depends_on_how_it_is_run(stages: Stages) -> None:
    assert not [param for stage in stages.values() for param in stage["params"] if "execution" in param]
