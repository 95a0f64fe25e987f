"""Settings as stages: params.yaml and templates/dvc.yaml.j2 -> dvc.yaml, the same bytes every time."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import read_text, write_text
from worldwidth.core.imports import code_closure, code_files, task_closure, task_files
from worldwidth.evaluation.scores import matrix_names
from worldwidth.pipeline.stages import STAGES
from worldwidth.settings.load import json_schema
from worldwidth.settings.schema import Settings, is_plug_in

DVC_YAML = Path("dvc.yaml")
SCHEMA = Path("docs/params.schema.json")
TEMPLATE = Path("templates/dvc.yaml.j2")

_SOUND = Path(".dvc/tmp/worldwidth/rendered")  # the hash of what dvc.yaml was last found right for


_CITY_IDS = ("seed", "cities", "id_digits", "atlantis.cities")
"""Keys of ``world`` that the cities' ids depend on."""
_REAL_CITIES = ("source", "min_population", "units_per_degree")
"""And those that the real cities depend on beside them."""
_SHARED_MODEL = ("initializer_range", "rms_norm_eps", "rope_theta", "tokens")
"""Keys of ``model`` that pre-training reads; the number of layers is in its recipe."""


@dataclass(frozen=True)
class Group:
    """Fine-tunes that train the same number of tasks: stages ``ftwb<count>@<id>``, ``plug<count>@<id>``."""

    name: str
    members: dict[str, str]
    """id -> the trained tasks, for people."""

    @property
    def is_plug_in(self) -> bool:
        """Whether its models learn new entities on a frozen map."""
        return is_plug_in(self.name)


def groups(settings: Settings) -> list[Group]:
    """The fine-tunes by number of trained tasks, in the order of params.yaml."""
    found: dict[str, Group] = {}
    for model, trained in settings.finetunes.items():
        name, member = model.split("-", 1)
        found.setdefault(name, Group(name, {})).members[member] = " and ".join(trained) or "no task"
    return list(found.values())


def render(settings: Settings, root: Path = Path()) -> str:
    """Return the text of dvc.yaml. It depends on the structure of params.yaml, the template and the imports only.

    Raises:
        WorldwidthError: the template is broken, or asks for what is not there.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError  # which few commands need

    code = {stage: code_closure(stage.script, root) for stage in STAGES}
    shared = task_closure(settings.tasks, root)
    context = {
        "tasks": settings.tasks,
        "models": settings.models,
        "groups": groups(settings),
        "figures": [*matrix_names(settings.finetunes), "training", "world"],
        "code": {stage.name: sorted({*files, *(shared if stage.runs_tasks else [])}) for stage, files in code.items()},
        "city_ids": _CITY_IDS,
        "real_world": (*_CITY_IDS, *_REAL_CITIES),
        "shared_model": _SHARED_MODEL,
        "task_files": task_files(settings.tasks),
        "sources": sorted(
            {json.dumps(s.world.source) for s in settings.scales.values() if s.world.source != "geonames"}
        ),
    }
    structure = json.dumps([settings.tasks, list(settings.finetunes.items()), context["code"], context["sources"]])
    environment = Environment(
        loader=FileSystemLoader(root / TEMPLATE.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    try:
        template = environment.get_template(TEMPLATE.name)
        return template.render(**context, fingerprint=hashlib.sha256(structure.encode()).hexdigest()[:12])
    except TemplateError as error:
        raise WorldwidthError(
            f"{TEMPLATE}: {error}; each `code.NAME` in it needs a row in src/worldwidth/pipeline/stages.py"
        ) from None


def rendered_files(settings: Settings, root: Path = Path()) -> dict[Path, str]:
    """Every generated file and the text it must have."""
    return {
        DVC_YAML: render(settings, root),
        SCHEMA: json.dumps(json_schema(), indent=2) + "\n",
    }


def stale_files(settings: Settings, further: Mapping[Path, str] = MappingProxyType({})) -> dict[Path, str]:
    """The generated files that are not up to date, and the text they must have.

    Args:
        further: those that packages above this one make.
    """
    wanted = rendered_files(settings) | dict(further)
    return {path: text for path, text in wanted.items() if not _holds(path, text)}


def write_rendered(settings: Settings, further: Mapping[Path, str] = MappingProxyType({})) -> list[Path]:
    """Write the generated files that are not up to date; return those."""
    stale = stale_files(settings, further)
    for path, text in stale.items():
        write_text(path, text)
    return list(stale)


def check_rendered(settings: Settings, root: Path = Path()) -> None:
    """Refuse a dvc.yaml that is not what params.yaml, the template and the imports say.

    Every stage asks. It is rendered again only if it, or anything that it is made from, is not as it was last time.

    Raises:
        WorldwidthError: it is stale.
    """
    found = _digest(settings, root)
    with suppress(OSError, ValueError):
        if read_text(root / _SOUND) == found:
            return
    if not _holds(root / DVC_YAML, render(settings, root)):
        raise WorldwidthError(
            "dvc.yaml does not match params.yaml, templates/dvc.yaml.j2 and the imports: run `make render`"
        )
    with suppress(OSError):  # DVC has not been here yet, or the disk is full
        (root / _SOUND).parent.mkdir(exist_ok=True)
        (root / _SOUND).write_text(found, encoding="utf-8")


def _digest(settings: Settings, root: Path) -> str:
    """Hash of dvc.yaml and of all that it is made from."""
    found = hashlib.sha256(repr(settings).encode())
    for path in (root / DVC_YAML, root / TEMPLATE, *code_files(root)):
        if path.is_file():
            text = path.read_bytes()
            found.update(f"{path.relative_to(root)} {len(text)}\n".encode() + text)
    return found.hexdigest()


def _holds(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == text
