"""A run watched: what jobs tell, what is shown of it, on a terminal and in a pipe, and for how long still.

pytest tests/test_watch.py
"""

import io
import json
import os
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from worldwidth.commands.status import print_status
from worldwidth.core.progress import Progress, Standing, watching
from worldwidth.engine import screen, view
from worldwidth.engine.course import Course, schedule
from worldwidth.engine.events import EVENTS, FAILED, RAN, RESTORED, STARTED, Event, Tail, read_events, telling
from worldwidth.engine.headline import headline
from worldwidth.engine.screen import Lines, Terminal, drawn
from worldwidth.engine.timings import START, Timings
from worldwidth.engine.view import Kept, Running, View, duration, kept_for_others, showing_stage, views
from worldwidth.engine.watch import Watch, last_lines
from worldwidth.pipeline.groups import Job
from worldwidth.settings.schema import Settings

HALF = Standing("ftwb1-1", 150, 300, 0.5321, 38_021.4, 31.6, resumed=False)
JOBS = (
    Job("base", "base", ("base",), ()),
    Job("ftwb1@1", "finetunes", ("ftwb1@1", "evaluate@ftwb1-1"), ("base",)),
    Job("ftwb1@2", "finetunes", ("ftwb1@2", "evaluate@ftwb1-2"), ("base",)),
    Job("summarize", "summary", ("summarize",), ("ftwb1@1", "ftwb1@2")),
)


@pytest.fixture
def settings(settings: Settings, empty_project: Path) -> Settings:
    """Of the smoke scale; the folder has no timings yet."""
    return replace(settings, scale="smoke")


def course_of(settings: Settings, jobs: tuple[Job, ...] = JOBS) -> Course:
    return Course("worldwidth run", jobs, 2, lambda job, stage: stage, lambda job: settings)


def known(settings: Settings, seconds: float = 10.0) -> None:
    """Every stage, and the start of a job, took so long before."""
    timings = Timings()
    for stage in (START, "base", "ftwb1@1", "evaluate@base", "summarize"):
        timings.add(settings, stage, seconds)
    timings.write()


def test_a_job_tells_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "job.jsonl"
    monkeypatch.setenv(EVENTS, str(path))
    tail = Tail(path)
    assert read_events(tail) == []
    with telling() as teller, Progress("base", 20) as progress:
        assert EVENTS not in os.environ, "what it starts tells nobody"
        teller.stage("base", STARTED)
        progress.update(10, 1000, 0.5)
        progress.update(11, 1100, 0.4)  # too soon
        first, second = read_events(tail)
        assert (first.stage, first.what, first.standing) == ("base", STARTED, None)
        assert second.standing
        assert (second.standing.step, second.standing.loss) == (10, 0.5)
        with path.open("a") as file:
            file.write('{"time": 1')
        assert read_events(tail) == [], "half a line"


def test_without_a_listener_nothing_is_told(empty_project: Path) -> None:
    with telling() as teller:
        teller.stage("base", STARTED)
    assert list(empty_project.iterdir()) == []


def test_progress_is_one_line_that_changes_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", terminal)
    with Progress("base", 20, done=5, tokens=500) as progress:
        progress.update(10, 1000, 0.5)
        progress.update(20, 2000, 0.4)
    shown = terminal.getvalue()
    assert shown.count("\n") == 1
    assert shown.split("\r")[1].startswith("base: step 10 of 20, loss 0.500, ")


def test_who_watches_hears_of_resumed_trainings() -> None:
    heard: list[Standing] = []
    with watching(heard.append), Progress("base", 20, done=5, tokens=500) as progress:
        progress.update(10, 1000, 0.5)
    with Progress("base", 20) as progress:
        progress.update(20, 2000, 0.5)
    assert [(one.step, one.resumed) for one in heard] == [(10, True)]


@pytest.mark.parametrize(("slots", "seconds"), [(1, 16.0), (2, 11.0), (3, 11.0)])
def test_jobs_wait_for_each_other_and_for_a_slot(slots: int, seconds: float) -> None:
    costs = {"base": 3.0, "a": 5.0, "b": 3.0, "c": 2.0, "last": 3.0}
    after = {"base": [], "a": ["base"], "b": ["base"], "c": ["base"], "last": ["a", "b", "c"]}
    assert schedule(costs, after, slots) == seconds
    assert schedule(costs, {**after, "last": ["lost"]}, slots) == seconds - 3


def test_nothing_is_said_of_the_time_left_where_nothing_is_known(settings: Settings) -> None:
    course = course_of(settings)
    assert course.view().left is None
    assert str(course.view()) == "[0/6] 0 %, 0 running"


def test_the_time_left_is_that_of_earlier_runs(settings: Settings) -> None:
    """Base, then two jobs at once, then the last: 20 + 30 + 20 s with the starts."""
    known(settings)
    course = course_of(settings)
    assert course.view().left == pytest.approx(70, abs=0.5)
    course.start(JOBS[0])
    now = time.time()
    course.take(JOBS[0], Event(now, "base", STARTED))
    course.take(JOBS[0], Event(now, standing=HALF))
    shown = course.view()
    assert shown.left == pytest.approx(HALF.seconds_left + 50, abs=0.5)
    assert shown.running == (Running("base", now, 10.0, HALF),)
    course.take(JOBS[0], Event(now + 3, "base", RAN))
    course.end(JOBS[0], is_well=True)
    shown = course.view()
    assert shown.left == pytest.approx(50, abs=0.5)
    assert str(shown).startswith("[1/6] ")
    assert str(shown).endswith(" %, 0 running, about 50 s left")
    again = Timings()
    assert again.expected(settings, "base") == pytest.approx(3)
    assert again.expected(settings, "summarize") == pytest.approx(10)


def test_longer_trainings_are_expected_to_take_longer(settings: Settings) -> None:
    known(settings)
    twice = replace(settings, arch="narrow", budget="tokens", reference="narrow")
    timings = Timings()
    timings.add(settings, "ftwb1@1", 10.0)
    assert timings.expected(settings, "ftwb1@3") == pytest.approx(10)
    two_tasks = timings.expected(settings, "ftwb2@4")
    assert two_tasks is None, "nothing is known of its group"
    assert timings.expected(twice, "base") is None
    assert timings.expected(settings, "evaluate@ftwb1-1") == pytest.approx(10)


@pytest.mark.parametrize("text", ["{", "[]", '{"smoke": {"wide": {"base": 3}}}', '{"smoke": 1}'])
def test_damaged_timings_are_none(text: str, settings: Settings) -> None:
    Path("timings").mkdir()
    Path("timings/stages.json").write_text(text)
    assert Timings().expected(settings, "base") is None


def test_what_waits_for_a_failed_job_is_not_waited_for(settings: Settings) -> None:
    known(settings)
    course = course_of(settings)
    course.start(JOBS[0])
    course.take(JOBS[0], Event(time.time(), "base", STARTED))
    failed = course.take(JOBS[0], Event(time.time(), "base", FAILED))
    assert failed
    course.end(JOBS[0], is_well=False)
    assert course.view().left == 0
    assert course.done == 0


def test_stages_that_were_resumed_or_restored_are_no_timings(settings: Settings) -> None:
    course = course_of(settings)
    course.start(JOBS[0])
    course.take(JOBS[0], Event(1.0, "base", STARTED))
    course.take(JOBS[0], Event(2.0, standing=replace(HALF, resumed=True)))
    assert course.take(JOBS[0], Event(3.0, "base", RAN))
    assert course.take(JOBS[0], Event(3.0, "base", RESTORED)) is None
    course.end(JOBS[0], is_well=False)
    assert Timings().expected(settings, "base") is None


def told(watch: Watch, job: Job, folder: Path, *events: dict[str, Any], printed: str = "") -> None:
    """As if a job had done so."""
    name = job.name.replace("@", "-")
    with (folder / f"{name}.jsonl").open("a") as file:
        for event in events:
            print(json.dumps({"time": 1.0, "stage": "", "what": "", "standing": None, **event}), file=file)
    with (folder / f"{name}.log").open("a") as file:
        file.write(printed)
    watch.look(is_stopping=False)


def watch_of(course: Course, folder: Path) -> Watch:
    def launch(*_: object) -> None:
        return None

    kept = Kept(folder / "kept.json")
    return Watch(course, folder, launch, Lines(), kept, lambda *_: None)  # type: ignore[arg-type]


def test_a_pipe_gets_two_lines_a_stage(
    settings: Settings, empty_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch, job = watch_of(course_of(settings), empty_project), JOBS[1]
    watch.start(job, {})
    told(watch, job, empty_project, {"stage": "ftwb1@1", "what": STARTED}, printed="Updating lock file\n")
    told(watch, job, empty_project, {"standing": vars(HALF)})
    told(watch, job, empty_project, {"time": 61.0, "stage": "ftwb1@1", "what": RAN})
    told(watch, job, empty_project, {"stage": "evaluate@ftwb1-1", "what": STARTED})
    told(watch, job, empty_project, printed="worldwidth: it is broken\n")
    told(watch, job, empty_project, {"time": 1.5, "stage": "evaluate@ftwb1-1", "what": FAILED})
    watch.ended(job, 2, 0)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        "[0/6] ftwb1@1: started",
        "[1/6] ftwb1@1: done in 60 s, loss 0.532, 38,021 tokens/s",
        "[1/6] evaluate@ftwb1-1: started",
        "[1/6] evaluate@ftwb1-1: failed after 0.5 s",
    ]
    assert shown.err.splitlines() == [
        "worldwidth: it is broken",
        f"worldwidth: job ftwb1@1: failed; what it printed: {empty_project / 'ftwb1-1.log'}",
    ]
    assert watch.reasons == {"ftwb1@1": "it is broken"}


def test_of_an_error_in_the_program_the_end_of_the_log_is_shown(
    settings: Settings, empty_project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch, job = watch_of(course_of(settings), empty_project), JOBS[0]
    watch.start(job, {})
    told(watch, job, empty_project, {"stage": "base", "what": STARTED})
    told(watch, job, empty_project, printed="worldwidth: a warning\nTraceback\n  line\nRuntimeError: \x1b[31mred\n")
    watch.ended(job, 1, 0)
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "[0/6] base: broken off"
    assert shown.err.splitlines()[1:] == [
        f"worldwidth: job base: exit code 1; what it printed: {empty_project / 'base.log'}",
        "  worldwidth: a warning",
        "  Traceback",
        "    line",
        "  RuntimeError:  [31mred",
    ]


def test_of_a_long_log_the_end_is_shown(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == []
    log.write_text("".join(f"line {number}\n" for number in range(100_000)))
    assert last_lines(log) == [f"line {number}" for number in range(99_994, 100_000)]


SWEPT = "narrow-epochs-s42-lr1.5e-2-br3e-2 evaluate@ftwb2-15"


def view_of(*running: Running) -> View:
    return View("worldwidth run", os.getpid(), time.time() - 30, 12, 40, 0.31, 182.0, running)


@pytest.mark.parametrize("width", [80, 100])
def test_the_bottom_of_a_terminal_fits_its_width(width: int) -> None:
    now = time.time()
    running = (Running("ftwb1@1", now, 9.0, HALF), Running(SWEPT, now - 4, 9.0), Running(SWEPT, now, 9.0, HALF))
    console = Console(width=width, file=io.StringIO(), record=True, force_terminal=True, color_system=None)
    console.print(drawn(view_of(*running), width))
    lines = console.export_text().splitlines()
    assert len(lines) == 4
    assert max(map(len, lines)) <= width
    assert lines[0].split()[0] == "ftwb1@1"
    assert lines[0].rstrip().endswith("50 %, loss 0.532, 38,021 tokens/s, 32 s left")
    assert lines[1].startswith("narrow-e\N{HORIZONTAL ELLIPSIS}")
    assert "evaluate@ftwb2-15  " in lines[1]
    assert lines[1].rstrip().endswith("for 4 s of about 9 s")
    assert lines[3] == "[12/40] 31 %, 3 running, about 3 min left"


def terminal(monkeypatch: pytest.MonkeyPatch, kind: str) -> io.StringIO:
    """A terminal of 80 columns in place of stdout."""
    shown = io.StringIO()
    monkeypatch.setattr(shown, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdout", shown)
    monkeypatch.setenv("TERM", kind)
    monkeypatch.setenv("COLUMNS", "80")
    return shown


def test_on_a_terminal_what_has_ended_stands_above(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = terminal(monkeypatch, "xterm")
    with screen.screen() as found:
        assert isinstance(found, Terminal)
        found.started("[0/6] base: started")
        found.show(view_of(Running("base", time.time(), 9.0, HALF)))
        found.ended("[1/6] base: done in 3 s")
    text = shown.getvalue()
    assert "started" not in text
    assert text.index("12/40") < text.index("[1/6] base: done in 3 s\n")
    assert "38,021 tokens/s" in text


def test_a_terminal_that_cannot_draw_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal(monkeypatch, "dumb")
    with screen.screen() as found:
        assert type(found) is Lines


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (10.2, "10 s"), (182, "3 min"), (7500, "2 h 5 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_status_says_what_runs(empty_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    print_status(as_json=False)
    assert capsys.readouterr().out.startswith("nothing runs here; ")
    with kept_for_others(os.getpid()) as kept:
        kept.keep(replace(view_of(Running("ftwb1@1", time.time(), 9.0, HALF)), since=time.time()))
        print_status(as_json=False)
        first, second, third, last = capsys.readouterr().out.splitlines()
        assert first.startswith("worldwidth run, since ")
        assert first.endswith(f" (0 s): process {os.getpid()}")
        assert second.startswith("  ftwb1@1, since ")
        assert third == "    step 150 of 300, loss 0.532, 38,021 tokens/s, 32 s left"
        assert last == "[12/40] 31 %, 1 running, about 3 min left"
        print_status(as_json=True)
        (values,) = json.loads(capsys.readouterr().out)
        assert values["running"][0]["training"]["loss"] == 0.5321
    assert views() == []


def test_status_of_a_stage_of_dvc_repro(empty_project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with showing_stage("dvc", os.getpid(), "base"), Progress("base", 20) as progress:
        print_status(as_json=False)
        assert "  base, since " in capsys.readouterr().out
        time.sleep(view._SECONDS_BETWEEN_WRITES)
        progress.update(10, 1000, 0.5)
        print_status(as_json=False)
        assert "    step 10 of 20, loss 0.500, " in capsys.readouterr().out


def test_status_takes_no_stranger_and_no_damaged_file_for_a_run(empty_project: Path) -> None:
    folder = view._folder()
    folder.mkdir(parents=True)
    before = replace(view_of(), since=time.time() - 1e9)  # this process has got the number since
    (folder / "1.json").write_bytes(view._VIEW.dump_json(before))
    (folder / "2.json").write_bytes(view._VIEW.dump_json(replace(before, pid=2**30)))
    (folder / "3.json").write_text("{")
    assert views() == []
    with kept_for_others(os.getpid()):
        assert list(folder.iterdir()) == [], "what killed runs have left"


def test_the_headline_names_the_control(settings: Settings) -> None:
    with chdir(Path(__file__).parents[1]):
        lines = headline(json.loads(Path("results/summary.json").read_text()))
    assert max(map(len, lines)) <= 80
    counts = {line.split(":")[0]: line.count("±") for line in lines if line.startswith(("ftwb", "plug"))}
    assert counts == {"ftwb0": 1, "ftwb1": 2, "ftwb2": 2, "plug1": 2, "plug7": 1}
    assert "fine-tuned on no task: the control" in "".join(lines)
