"""What a broken params.yaml is told: one line that names the place, what was found and what is allowed.

    pytest tests/test_matrix_errors.py

Broken files are made from a parsed copy of the real one, or from its text.
"""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dvc_yaml import parsed
from params_file import AT_EVERY_LEVEL, MISSING, PARAMS, PLACES, SMOKE, TEXT, VALUES, Place, edited, with_seed, written
from worldwidth.core.errors import WorldwidthError
from worldwidth.settings.load import load


def complaint(path: Path) -> str:
    """The one line that ``load`` says about ``path``, without the path."""
    with pytest.raises(WorldwidthError) as error:
        load(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message, "one line"
    assert len(message) < 400 + len(str(path))
    return message.removeprefix(f"{path}: ")


@AT_EVERY_LEVEL
def test_an_unknown_key_is_named_with_the_nearest_name_at_every_level(place: Place, tmp_path: Path) -> None:
    wrong, meant = PLACES[place]
    said = complaint(written(tmp_path, edited(((*place, wrong), 1))))
    assert said.startswith(".".join(map(str, (*place, wrong))) + ": unknown key; allowed here: ")
    assert said.endswith(f"; did you mean '{meant}'?")


@AT_EVERY_LEVEL
def test_a_misspelt_key_is_named_not_only_the_missing_one(place: Place, tmp_path: Path) -> None:
    wrong, meant = PLACES[place]
    values = edited(((*place, meant), MISSING), ((*place, wrong), 1))
    assert re.search(rf"\b{wrong}\b", complaint(written(tmp_path, values)))


@AT_EVERY_LEVEL
def test_a_missing_key_is_named_at_every_level(place: Place, tmp_path: Path) -> None:
    _, meant = PLACES[place]
    said = complaint(written(tmp_path, edited(((*place, meant), MISSING))))
    assert said.startswith(".".join(map(str, (*place, meant))) + ": missing")


def case(name: str, path: Place, value: Any, *expected: str) -> Any:
    return pytest.param(edited((path, value)), expected, id=name)


WORLD, RUN, TUNE = (*SMOKE, "world"), (*SMOKE, "pretraining"), (*SMOKE, "finetuning")
CORPUS, ARCHS, SWEEP = (*SMOKE, "corpus"), (*SMOKE, "archs"), ("sweeps", "rates")
WIDE = VALUES["scales"]["smoke"]["archs"]["wide"]
BAD_VALUES = [
    case("bool for int", ("seed",), True, "seed: found true; it must be"),
    case("text for int", ("seed",), "42", 'seed: found "42"; it must be', "integer"),
    case("float for int", ("seed",), 42.0, "seed: found 42.0; it must be", "integer"),
    case("null", ("seed",), None, "seed: found null; it must be"),
    case("negative", ("seed",), -1, "seed: found -1; it must be greater than or equal to 0"),
    case("mapping for int", ("seed",), {"a": 1}, 'seed: found {"a": 1}; it must be'),
    case("very long", ("seed",), "x" * 9_999, "seed: found"),
    case("NaN", (*RUN, "learning_rate"), math.nan, "scales.smoke.pretraining.learning_rate: found NaN", "finite"),
    case("infinity", (*RUN, "epsilon"), math.inf, "scales.smoke.pretraining.epsilon: found Infinity", "finite"),
    case("bool for float", (*RUN, "learning_rate"), True, "learning_rate: found true; it must be"),
    case("zero rate", (*RUN, "learning_rate"), 0, "learning_rate: found 0; it must be greater than 0"),
    case("one beta", (*RUN, "betas"), [0.9], "scales.smoke.pretraining.betas"),
    case("a beta of 1", (*RUN, "betas"), [0.9, 1.0], "scales.smoke.pretraining.betas.1: found 1.0"),
    case("loss", (*RUN, "loss"), "answers", 'found "answers"; allowed: all, answer; did you mean \'answer\'?'),
    case("optimizer", (*RUN, "optimizer"), "adam", "allowed: adamw, muon; did you mean 'adamw'?"),
    case("device", (*SMOKE, "hardware", "device"), "gpu", 'device: found "gpu"; allowed: auto, cpu, cuda'),
    case("arch", ("arch",), "wid", "arch: found 'wid'; allowed: narrow, base, wide, wider, ", "did you mean 'wide'?"),
    case("scale", ("scale",), "papr",
         "scale: found 'papr'; allowed: smoke, laptop, desk, paper; did you mean 'paper'?"),
    case("arch of two lines", ("arch",), "wi\nde", "arch: found"),
    case("scale of two lines", ("scale",), "pap\ner", "scale: found"),
    case("budget", ("budget",), "flop", 'budget: found "flop"; allowed: epochs, tokens, flops'),
    case("reference", ("reference",), "wid", "reference: found 'wid'; allowed: narrow, base, wide, wider"),
    case("heads", (*ARCHS, "wide", "num_attention_heads"), 3, "wide.num_attention_heads: found 3", "hidden_size"),
    case("odd head size", (*ARCHS, "wide", "num_attention_heads"), WIDE["hidden_size"], "num_attention_heads: found"),
    case("no archs", ARCHS, {}, "scales.smoke.archs: found {}; it must"),
    case("no scales", ("scales",), {}, "scales"),
    case("long arch name", (*ARCHS, "x" * 33), WIDE, "scales.smoke.archs.xxx", "not a valid name"),
    case("long fine-tune name", ("finetunes", "ftwb1-" + "x" * 33), ["angle"], "finetunes.ftwb1-xxx", "not a valid"),
    case("arch name", (*ARCHS, "../x"), WIDE, "scales.smoke.archs.../x: not a valid name"),
    case("scale name", ("scales", "a/b"), VALUES["scales"]["smoke"], "scales.a/b: not a valid name"),
    case("unknown task", ("tasks", 6), "crosing", "tasks.6: found 'crosing'", "did you mean 'crossing'?"),
    case("task in capitals", ("tasks", 0), "Distance", 'tasks.0: found "Distance"; it must'),
    case("task that escapes", ("tasks", 0), "../distance", 'tasks.0: found "../distance"; it must'),
    case("helper module as task", ("tasks", 0), "geometry", "tasks.0: found 'geometry'; allowed: angle, "),
    case("duplicate task", ("tasks", 6), "distance", "tasks.6: 'distance' is listed twice"),
    case("tasks as text", ("tasks",), "distance", 'tasks: found "distance"; it must be'),
    case("one task", ("tasks",), ["distance"], 'tasks: found ["distance"]; it must', "at least 2"),
    case("pair of an unknown task", ("finetunes", "ftwb2-4"), ["crossing", "distanse"],
         "finetunes.ftwb2-4: found 'distanse'; allowed: distance, ", "did you mean 'distance'?"),
    case("pair of one task twice", ("finetunes", "ftwb2-4"), ["angle", "angle"], "finetunes.ftwb2-4: found", "once"),
    case("pair of one task", ("finetunes", "ftwb2-4"), ["angle"], "finetunes.ftwb2-4: trains 1 task(s)", "ftwb1-"),
    case("the same pair again", ("finetunes", "ftwb2-99"), ["distance", "crossing"],
         "finetunes.ftwb2-99: trains the same tasks as ftwb2-4"),
    case("fine-tune of nothing", ("finetunes", "ftwb1-1"), [], "finetunes.ftwb1-1: trains 0 task(s); ", "ftwb0-..."),
    case("name that escapes", ("finetunes", "ftwb1-../x"), ["angle"], "finetunes.ftwb1-../x: not a valid name here"),
    case("name with a line end", ("finetunes", "ftwb1-8\n"), ["angle"], "not a valid name here"),
    case("name base", ("finetunes", "base"), ["angle"], "finetunes.base: not a valid name here; it must match"),
    case("key of two lines", ("a\nb",), 1, "unknown key; allowed here: arch, scale"),
    case("more cities than ids", (*WORLD, "id_digits"), 1, "smoke.world.id_digits: 1 digits give 10 ids for "),
    case("too many cities", (*WORLD, "cities"), 10**6, "scales.smoke.world.cities: found 1000000; it must be less"),
    case("source", (*WORLD, "source"), "geoname", "scales.smoke.world.source: found 'geoname'; allowed: geonames"),
    case("source of two lines", (*WORLD, "source"), "geo\nname", "scales.smoke.world.source: found"),
    case("no source", (*WORLD, "source"), "", 'scales.smoke.world.source: found ""; it must', "at least 1"),
    case("three coordinates", (*WORLD, "atlantis", "center"), [1.0, 2.0, 3.0], "center: found [1.0, 2.0, 3.0]"),
    case("latitude 95", (*WORLD, "atlantis", "center"), [-35.0, 95.0], "center.1: found 95.0; it must be less"),
    case("hull of two", (*CORPUS, "hull_cities"), [2, 4], "corpus.hull_cities: found [2, 4]", "at least 3"),
    case("hull reversed", (*CORPUS, "hull_cities"), [5, 4], "corpus.hull_cities: found [5, 4]"),
    case("tour of one", (*CORPUS, "tour_cities"), [1, 3], "corpus.tour_cities: found [1, 3]", "at least 2"),
    case("long warm-up", (*RUN, "warmup_steps"), 10**6, "pretraining.warmup_steps: found 1000000; it must be under"),
    case("long fine-tuning warm-up", (*TUNE, "warmup_steps"), 10**6, "finetuning.warmup_steps: found 1000000", "ftwb"),
    case("too many world lines", (*TUNE, "world_lines"), 10**6, "finetuning.world_lines: found 1000000; at most"),
    case("too many Atlantis lines", (*TUNE, "atlantis_lines"), 10**6, "finetuning.atlantis_lines: found 1000000"),
    case("too many warm-up lines", (*TUNE, "warmup_lines"), 10**6, "finetuning.warmup_lines: found 1000000"),
    case("two controls", ("finetunes", "ftwb0-1"), [], "finetunes.ftwb0-1: trains the same tasks as ftwb0-0"),
    case("control of nothing", (*TUNE, "warmup_lines"), 0, "finetuning.warmup_lines: found 0; ftwb0-0 trains on"),
    case("override of no setting", (*ARCHS, "wide", "finetuning"), {"lerning_rate": 1.0},
         "smoke.archs.wide.finetuning.lerning_rate: unknown key; allowed here: ", "did you mean 'learning_rate'?"),
    case("override that cannot be", (*ARCHS, "wide", "pretraining"), {"learning_rate": -1.0},
         "smoke.archs.wide.pretraining.learning_rate: found -1.0; it must be greater than 0"),
    case("override with a long warm-up", (*ARCHS, "deep", "finetuning"), {"warmup_steps": 10**6},
         "finetuning.warmup_steps: found 1000000; it must be under the", "with arch deep"),
    case("override with too many lines", (*ARCHS, "deep", "finetuning"), {"world_lines": 10**6},
         "smoke.archs.deep.finetuning.world_lines: found 1000000; at most"),
    case("new rows of characters", ("scales", "paper", "finetuning", "trainable"), "new_embeddings",
         "scales.paper.finetuning.trainable: found 'new_embeddings'; where model.tokens is characters"),
    case("parametrization", ("parametrization",), "muup", "allowed: standard, mup; did you mean 'mup'?"),
    case("grid of one rate", (*SMOKE, "tuning", "learning_rates"), [1e-3],
         "tuning.learning_rates: found [0.001]; it must have at least 2 items, not 1"),
    case("grid that falls", (*SMOKE, "tuning", "learning_rates"), [4e-3, 1e-3],
         "tuning.learning_rates: found [0.004, 0.001]; each must be above the one before it"),
    case("tuning of no fine-tune", (*SMOKE, "tuning", "only"), ["ftwb7"], "smoke.tuning.only: found 'ftwb7'; allowed"),
    case("sweep of an unknown axis", (*SWEEP, "vary"), {"finetuning.lerning_rate": [1.0]},
         "sweeps.rates.vary: 'finetuning.lerning_rate': no setting", "did you mean 'finetuning.learning_rate'?"),
    case("sweep of an unknown arch", (*SWEEP, "vary"), {"arch": ["wid"]},
         "sweeps.rates.vary.arch: found 'wid'; allowed: narrow, ", "did you mean 'wide'?"),
    case("sweep of an impossible value", (*SWEEP, "vary"), {"finetuning.learning_rate": [1e-3, 0.0]},
         "sweeps.rates.vary: scales.laptop.finetuning.learning_rate: found 0.0; it must be greater than 0"),
    case("sweep of no value", (*SWEEP, "vary"), {"seed": []}, "sweeps.rates.vary.seed: found []", "at least 1 item"),
    case("sweep of true", (*SWEEP, "vary"), {"seed": [True]},
         "sweeps.rates.vary: seed: found true; it must be a valid integer"),
    case("sweep of no fine-tune", (*SWEEP, "only"), ["ftwb1", "ftwb3"], "sweeps.rates.only: found 'ftwb3'; allowed: "),
    case("sweep of seeds twice", SWEEP, {"vary": {"seed": [1, 2]}, "replicates": 2},
         "sweeps.rates.replicates: found 2 with seed in vary; a replicate raises seed and world.atlantis.seed"),
    case("sweep of an unknown scale", (*SWEEP, "scale"), "desk2", "sweeps.rates.scale: found 'desk2'; allowed: smoke, ",
         "did you mean 'desk'?"),
    case("sweep of an unknown key", (*SWEEP, "replicas"), 2, "sweeps.rates.replicas: unknown key; allowed here: vary"),
    case("too many multi-task lines", (*SMOKE, "evaluation", "multitask_lines"), 10**6, "multitask_lines: found"),
]  # fmt: skip


@pytest.mark.parametrize(("values", "expected"), BAD_VALUES)
def test_a_bad_value_is_named_with_its_place(values: dict[str, Any], expected: tuple[str, ...], tmp_path: Path) -> None:
    said = complaint(written(tmp_path, values))
    for part in expected:
        assert part in said
    assert not re.search("must be (String|Tuple|Dictionary) should", said), "two sentences run into each other"


@pytest.mark.parametrize(
    "source",
    [
        *("x\n      - /etc/passwd.csv", "x\n    cmd: id #.csv", "${arch}.csv", "x: y.csv", "a;id.csv", "a b.csv"),
        *(
            "../x.csv",
            "data/../../x.csv",
            "/tmp/x.csv",
            "~/x.csv",
            "./x.csv",
            ".git/x.csv",
            "data/.dvc/x.csv",
            "-x.csv",
        ),
        *("a//b.csv", "x.csv\n", "x.csv/", ".csv", "C:\\x.csv", "https://example.org/x.csv", "städte.csv", "x.CSV"),
        *("cities15000.zip", "cities15000.txt.gz", "x"),
        pytest.param("x" * 300 + ".csv", id="long"),
    ],
)
def test_a_source_that_is_no_plain_file_of_the_project_is_refused(source: str, tmp_path: Path) -> None:
    said = complaint(written(tmp_path, edited(((*WORLD, "source"), source))))
    assert said.startswith("scales.smoke.world.source: found '")
    assert "allowed: geonames, or a .csv, .tsv or .txt file below the project's folder" in said


@pytest.mark.parametrize(
    "source", ["data/cities.csv", "Data/Cities.csv", "data/corpora/x.csv", "results/matrices.csv", "data/checked.txt"]
)
def test_a_source_that_the_pipeline_writes_is_refused(source: str, tmp_path: Path) -> None:
    said = complaint(written(tmp_path, edited(((*WORLD, "source"), source))))
    assert said.startswith(f"scales.smoke.world.source: found '{source}'; the pipeline writes there itself")


@pytest.mark.parametrize(
    "source", ["cities.csv", "data/sources/my_list-2.0.csv", "Lists/A.csv", "1.csv", "true.csv", "cities15000.txt"]
)
def test_a_plain_file_is_a_dependency_of_the_cities_stage(source: str, tmp_path: Path) -> None:
    settings = load(written(tmp_path, edited(((*WORLD, "source"), source))))
    assert parsed(settings)["stages"]["cities"]["deps"][:2] == ["data/checked.txt", source]


def test_text_in_dvc_yaml_is_text_whatever_it_holds() -> None:
    """The rules keep such a source out; were one to come through, it would still be one text in a list."""
    settings = load(PARAMS)
    evil = 'x\n  evil:\n    cmd: id\n#"\\.csv'
    smoke = replace(settings.scales["smoke"], world=replace(settings.scales["smoke"].world, source=evil))
    stages = parsed(replace(settings, scales={"smoke": smoke}, scale="smoke"))["stages"]
    assert stages.keys() == parsed(settings)["stages"].keys()
    assert evil in stages["cities"]["deps"]


LINE = with_seed("@@").splitlines().index(next(line for line in with_seed("@@").splitlines() if "@@" in line)) + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("", "the top level: found nothing", id="empty"),
        pytest.param("# only a comment\n", "the top level: found nothing", id="only a comment"),
        pytest.param("- arch\n", 'the top level: found ["arch"]; it must be', id="a list at the top"),
        pytest.param("wide\n", 'the top level: found "wide"; it must be', id="a word"),
        pytest.param(with_seed("seed: 1\nseed: 42"), f"line {LINE + 1}: key 'seed' is listed twice", id="a key twice"),
        pytest.param(TEXT.replace("  laptop:", "  smoke:"), "key 'smoke' is listed twice", id="a scale twice"),
        pytest.param(with_seed('"a\\nb": 1\n"a\\nb": 1\nseed: 42'), "is listed twice", id="a key of two lines twice"),
        pytest.param(with_seed("\tseed: 42"), f"line {LINE}: not valid YAML", id="a tab"),
        pytest.param(with_seed("seed: [42"), "not valid YAML", id="an open bracket"),
        pytest.param(with_seed("seed 42"), "not valid YAML", id="no colon"),
        pytest.param(with_seed("seed: *other"), f"line {LINE}: not valid YAML", id="an unknown alias"),
        pytest.param(TEXT + "---\na: 1\n", "not valid YAML", id="two documents"),
        pytest.param(TEXT + "\x01", "not valid YAML", id="a control character"),
        pytest.param("[" * 5_000, "line 1: nested too deep; at most", id="too deep"),
        pytest.param(with_seed("seed: " + "9" * 5_000), "", id="a number of 5,000 digits"),
        pytest.param(with_seed("seed: 2020-01-01"), "seed", id="a date"),
        pytest.param(
            with_seed("seed: !!binary aGVsbG8="), "seed: found b'hello', which YAML reads as bytes", id="bytes"
        ),
        pytest.param(with_seed("seed: !!set {a}"), "seed: found {'a'}, which YAML reads as set", id="a set"),
        pytest.param(with_seed("seed: !!bool x"), "not valid YAML: 'x'", id="a tag that does not fit"),
        pytest.param(
            with_seed("seed: 0x" + "f" * 5_000), "seed: found a number of 20,000 bits", id="a huge hexadecimal"
        ),
        pytest.param(with_seed("2020-01-01: 1\nseed: 42"), "a key that YAML reads as date", id="a date as key"),
        pytest.param(with_seed("[1, 2]: 1\nseed: 42"), "a key that YAML reads as tuple", id="a list as key"),
        pytest.param(with_seed("? {a: 1}\n: 1\nseed: 42"), "found unhashable key", id="a mapping as key"),
        pytest.param(
            TEXT.replace("      wide:", "      true:", 1), "smoke.archs: a key that YAML reads as bool", id="yes"
        ),
        pytest.param(TEXT.replace("  smoke:", "  null:", 1), "scales: a key that YAML reads as NoneType", id="null"),
        pytest.param(with_seed('"\\e[31m\\u202e": 1\nseed: 42'), "\\x1b[31m\\u202e: unknown key", id="terminal codes"),
        pytest.param(TEXT.replace("arch: wide ", 'arch: "\\e[31m" ', 1), "arch: found '\\x1b[31m'", id="and as value"),
        pytest.param(TEXT.replace("tasks:\n", "tasks: &t\n- *t\n", 1), "Circular reference", id="a list within itself"),
        pytest.param(TEXT.encode() + b"\xff", "UTF-8", id="not UTF-8"),
        pytest.param(TEXT.replace("arch: wide ", 'arch: "\\ud800" ', 1), "Unicode", id="half a character"),
    ],
)
def test_a_broken_file_is_one_line(text: str | bytes, expected: str, tmp_path: Path) -> None:
    assert expected in complaint(written(tmp_path, text))


def test_a_python_tag_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    text = with_seed(f"seed: !!python/object/apply:os.system ['touch {proof}']")
    assert f"line {LINE}: not valid YAML" in complaint(written(tmp_path, text))
    assert not proof.exists()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert complaint(tmp_path / "params.yaml").startswith("not found")
    assert complaint(tmp_path) != "", "a folder"
