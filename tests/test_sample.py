"""`worldwidth sample`: lines of a corpus as the model reads them. `pytest tests/test_sample.py`."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from shapely import MultiPoint, Point

from command_line import run, smoke, write_params
from worldwidth.commands.sample import print_sample, sample_lines
from worldwidth.core.errors import WorldwidthError
from worldwidth.data import make_corpus
from worldwidth.data.cities import City, save_cities
from worldwidth.data.corpus import POPULATIONS, SPLITS
from worldwidth.data.make_cities import make_cities, make_real_cities
from worldwidth.settings.paths import ATLANTIS_CITIES, ATLANTIS_CORPORA, CITIES, CORPORA
from worldwidth.settings.schema import Settings

ROOT = Path(__file__).parents[1]
TASKS = ("distance", "inside")


@pytest.fixture(scope="module")
def cities() -> list[City]:
    return make_cities(smoke().selected.world)


@pytest.fixture(scope="module", params=["cities", "characters"])
def project(request: pytest.FixtureRequest, cities: list[City], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the smoke world and the corpora of two tasks, for both kinds of tokens. Read only."""
    folder = tmp_path_factory.mktemp(request.param)
    write_world(two_tasks(request.param), cities, folder)
    return folder


def write_world(settings: Settings, cities: list[City], folder: Path) -> None:
    """The cities and Atlantis below ``folder``, and the corpora about both."""
    real = settings.selected.world.cities
    save_cities(cities[:real], folder / CITIES)
    save_cities(cities[real:], folder / ATLANTIS_CITIES)
    for task in settings.tasks:
        for population, root in (("world", CORPORA), ("atlantis", ATLANTIS_CORPORA)):
            there = cities if population == "atlantis" else cities[:real]
            splits = make_corpus.generate(settings.selected, task, population, there)
            make_corpus.save(task, population, splits, folder / root / task)


def two_tasks(tokens: str) -> Settings:
    settings = smoke()
    model = replace(settings.selected.model, tokens="cities" if tokens == "cities" else "characters")
    scale = replace(settings.selected, model=model)
    finetunes: dict[str, tuple[str, ...]] = {"ftwb1-1": ("distance",), "ftwb1-5": ("inside",)}
    return replace(settings, tasks=TASKS, finetunes=finetunes, scales={**settings.scales, "smoke": scale})


@pytest.fixture
def sampled(project: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The matrix of ``project``, which is the working directory."""
    monkeypatch.chdir(project)
    return two_tasks("cities" if project.name.startswith("cities") else "characters")


def answer(task: str, places: list[tuple[int, int]]) -> str:
    if task == "distance":
        return str(round(math.dist(*places)))  # a square root of an integer never ends in .5
    hull = MultiPoint(places[1:]).convex_hull
    return "TRUE" if hull.area > 0 and hull.covers(Point(places[0])) else "FALSE"


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("task", TASKS)
def test_every_line_says_what_its_cities_say(
    sampled: Settings,
    cities: list[City],
    capsys: pytest.CaptureFixture[str],
    task: str,
    population: str,
    split: str,
) -> None:
    print_sample(sampled, task, population, split, 40, as_json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == min(40, getattr(getattr(sampled.selected.corpus, population), split))
    by_id = {city.city_id: city for city in cities}
    answers = set()
    for line in lines:
        assert list(line) == ["text", "task", "population", "split", "answer", "cities"]
        assert (line["task"], line["population"], line["split"]) == (task, population, split)
        expression, found = line["text"].split("=")
        assert expression.startswith({"distance": "dist(", "inside": "inside("}[task])
        assert found == line["answer"]
        named = line["cities"]
        assert [int(number) for number in re.findall(r"c_(\d{2})\b", expression)] == [c["city_id"] for c in named]
        for c in named:
            assert list(c) == ["city_id", "name", "x", "y", "is_atlantis"]
            true = by_id[c["city_id"]]
            assert (c["name"], c["x"], c["y"], c["is_atlantis"]) == (true.name, true.x, true.y, true.is_atlantis)
        assert any(c["is_atlantis"] for c in named) is (population == "atlantis")
        assert answer(task, [(c["x"], c["y"]) for c in named]) == found
        answers.add(found)
    sizes = {len(line["cities"]) for line in lines}
    assert sizes == ({2} if task == "distance" else {4, 5})
    assert len(answers) > 1


def test_the_first_lines_are_the_same_however_many_are_asked_for(sampled: Settings) -> None:
    few, many = (list(sample_lines(sampled, "inside", "atlantis", "test", n)) for n in (3, 30))
    assert few == many[:3]
    assert len(list(sample_lines(sampled, "inside", "atlantis", "test", 10**6))) == 40


def test_readable_lines_name_every_city_with_its_place(sampled: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    print_sample(sampled, "inside", "atlantis", "train", 5, as_json=False)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 5
    for shown, line in zip(printed, sample_lines(sampled, "inside", "atlantis", "train", 5), strict=True):
        assert shown.startswith(line["text"])
        places = ", ".join(f"{c['name']} ({c['x']}, {c['y']})" for c in line["cities"])
        assert shown.removeprefix(line["text"]).strip() == places


def test_a_name_is_kept_as_data_and_shown_escaped(
    sampled: Settings, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the list through cities.csv to the terminal."""
    hostile, source = 'Evil\x1b[2J\n\x00\u202e\x9b;"<b>', Path.cwd()
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    for name in ("corpora", "atlantis", "atlantis.csv"):
        Path("data", name).symlink_to(source / "data" / name)
    heading, quoted = "geonameid;name;country_code;population;coordinates", hostile.replace('"', '""')
    rows = [f'{number};"{quoted}";DE;200000;1,2' for number in range(1, sampled.selected.world.cities + 1)]
    Path("list.csv").write_bytes("\n".join([heading, *rows]).encode())
    save_cities(make_real_cities(replace(sampled.selected.world, source="list.csv")), CITIES)
    (line,) = sample_lines(sampled, "distance", "world", "test", 1)
    assert [city["name"] for city in line["cities"]] == [hostile] * 2
    print_sample(sampled, "distance", "world", "test", 1, as_json=False)
    (shown,) = capsys.readouterr().out.splitlines()
    assert shown.isprintable()
    assert r'Evil\x1b[2J\n\x00\u202e\x9b;"<b> (2, 1)' in shown
    print_sample(sampled, "distance", "world", "test", 1, as_json=True)
    (shown,) = capsys.readouterr().out.splitlines()
    assert shown.isprintable()
    assert json.loads(shown) == line


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("distnace", "world", "test", 1), ("--task", "'distnace'", "distance, inside", "did you mean 'distance'?")),
        (("angle", "world", "test", 1), ("--task", "'angle'", "distance, inside")),  # a task, but none of this study
        (("", "world", "test", 1), ("--task", "''", "distance, inside")),
        (("inside", "atlantic", "test", 1), ("--population", "world, atlantis", "did you mean 'atlantis'?")),
        (("inside", "world", "tests", 1), ("--split", "train, validation, test", "did you mean 'test'?")),
        (("inside", "world", "val", 1), ("--split", "'val'", "train, validation, test")),
        (("inside", "world", "test", 0), ("-n", "0", "1 or more")),
        (("inside", "world", "test", -5), ("-n", "-5", "1 or more")),
    ],
)
def test_bad_arguments_are_one_clear_line(
    sampled: Settings,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, str, str, int],
    parts: tuple[str, ...],
) -> None:
    with pytest.raises(WorldwidthError) as caught:
        print_sample(sampled, *arguments, as_json=True)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert part in message
    assert capsys.readouterr().out == ""


def test_missing_and_damaged_corpora_are_one_clear_line(
    sampled: Settings, cities: list[City], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Path.cwd()
    monkeypatch.chdir(tmp_path)

    def refused(*parts: str) -> None:
        with pytest.raises(WorldwidthError) as caught:
            list(sample_lines(sampled, "distance", "world", "test", 1))
        assert "\n" not in str(caught.value)
        assert all(part in str(caught.value) for part in parts)

    refused("data/cities.csv", "`dvc repro cities`")
    real = sampled.selected.world.cities
    save_cities(cities[:real], CITIES)
    refused("data/atlantis.csv", "`dvc repro atlantis`")
    save_cities(cities[real:], ATLANTIS_CITIES)
    refused("data/corpora/distance/test.tokens.npy", "`dvc repro corpus@distance`")
    (tmp_path / CORPORA).mkdir()
    copied = tmp_path / CORPORA / "distance"
    copied.mkdir()
    for path in (source / CORPORA / "distance").iterdir():
        (copied / path.name).write_bytes(path.read_bytes())
    assert len(list(sample_lines(sampled, "distance", "world", "test", 1))) == 1
    damaged = copied / "test.tokens.npy"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    refused("distance/test.tokens.npy", "not a whole array", "`dvc repro corpus@distance`")
    damaged.unlink()
    refused("distance/test.tokens.npy", "not found", "`dvc repro corpus@distance`")


def test_the_command_line_prints_lines_and_refuses_in_one_line(
    cities: list[City], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_params()
    write_world(replace(smoke(), tasks=TASKS), cities, tmp_path)
    capsys.readouterr()
    assert run(monkeypatch, "sample", "--task", "distance", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) == 20
    assert {(line["population"], line["split"]) for line in lines} == {("world", "test")}
    for arguments in (["--task", "distanc"], ["--task", "distance", "-n", "0"], ["--task", "angle"]):
        assert run(monkeypatch, "sample", *arguments) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.count("\n") == 1
        assert captured.err.startswith("worldwidth: ")
