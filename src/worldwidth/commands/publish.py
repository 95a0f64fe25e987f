"""`worldwidth publish`: models as Hugging Face repositories, without a network and without changing models/."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import sha256, write_text
from worldwidth.core.git import git, head_commit
from worldwidth.core.text import plural
from worldwidth.data.cities import load_cities
from worldwidth.dvcio.forecast import UP_TO_DATE, forecast
from worldwidth.hub.card import BASE, card_text, model_card
from worldwidth.hub.examples import examples
from worldwidth.hub.model_files import CITIES, save_city_names, save_model_files
from worldwidth.hub.repository import MAIN, Revision, branch_of, save_repository
from worldwidth.model.checkpoint import WEIGHTS
from worldwidth.settings.names import known_model
from worldwidth.settings.paths import MODELS, PARAMS
from worldwidth.settings.schema import Settings


def publish(settings: Settings, names: list[str], to: Path) -> None:
    """Lay out models as repositories that git and transformers read: one in ``to``, several in folders below it.

    Raises:
        WorldwidthError: a model is none of params.yaml, is not there or not what params.yaml and the code would give,
            or its folder holds something already. Nothing is written then.
    """
    models = [known_model(settings, name) for name in dict.fromkeys(names)]
    places = {name: to / name if len(models) > 1 else to for name in models}
    for place in (to, *places.values()):
        _refuse_occupied(place)
    _refuse_stale(models)
    for name, place in places.items():
        save_repository(place, _revisions(settings, name), int(git("show", "--no-patch", "--format=%ct", "HEAD")))
        print(f"{place}: {name} on branch {MAIN}, {plural(len(_checkpoints(name)), 'checkpoint')} as branches")
    print("how to use one is in its README.md; how to bring it to the Hub, in docs/share.md")


def _refuse_occupied(place: Path) -> None:
    if place.is_symlink() or (place.exists() and (not place.is_dir() or any(place.iterdir()))):
        raise WorldwidthError(
            f"--to: {place}: there is something already; name a folder that is empty or not there yet"
        )


def _refuse_stale(models: list[str]) -> None:
    """Refuse models whose files, or whose evaluations, are not those that DVC would make now."""
    stages = [f"evaluate@{name}" for name in dict.fromkeys([BASE, *models])]
    for answer in forecast(stages):
        if answer.state != UP_TO_DATE:
            raise WorldwidthError(
                f"{', '.join(models)}: not there, or not what params.yaml and the code stand for ({answer.stage}: "
                f"{answer.state}, {answer.reason}); run `dvc repro {' '.join(stages)}`"
            )


def _revisions(settings: Settings, name: str) -> Iterator[Revision]:
    """Every checkpoint, then the finished model."""
    cities = load_cities(settings.selected.world)
    remedy = f"run `dvc repro evaluate@{name}`"
    answers = examples(settings, MODELS / name, remedy, "world" if name == BASE else "atlantis")
    checkpoints = _checkpoints(name)
    card = model_card(settings, name, cities, answers, _origin(), list(checkpoints))

    def revision(branch: str, step: int | None, source: Path) -> Revision:
        def write(folder: Path) -> None:
            save_model_files(settings, source, remedy, folder)
            save_city_names(settings, cities, folder / CITIES)
            shutil.copyfile(PARAMS, folder / PARAMS.name)
            write_text(folder / "README.md", card_text(card, step))

        when = "finished" if step is None else f"after {plural(step, 'step')}"
        return branch, f"{name}, {when}\n\nFrom weights with SHA-256 {sha256(source / WEIGHTS)}", write

    for step, source in checkpoints.items():
        yield revision(branch_of(step), step, source)
    yield revision(MAIN, None, MODELS / name)


def _checkpoints(name: str) -> dict[int, Path]:
    """Step -> folder, the earliest first."""
    folders = {int(folder.name): folder for folder in (MODELS / name / "steps").glob("*") if folder.name.isdecimal()}
    return dict(sorted(folders.items()))


def _origin() -> str:
    """The commit of code and settings, and whether it is all."""
    edited = git("status", "--porcelain", "--untracked-files=no", "--", PARAMS.as_posix(), "src", "stages")
    return f"commit {head_commit()[:12]}" + (", edited since" if edited else "")
