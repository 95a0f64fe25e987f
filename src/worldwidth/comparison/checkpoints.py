"""The maps of base models while they were pre-trained, from the checkpoints in DVC's cache.

The stage `represent` keeps the places of the finished model alone. Here those of a few checkpoints are read off anew,
for the first run of every arm and level; a base model that several runs share has its maps in the first of them.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
from threadpoolctl import threadpool_limits

from worldwidth.comparison.representations import RunMaps, first_runs, lie_and_seen
from worldwidth.core.errors import WorldwidthError, warn
from worldwidth.core.files import read_text
from worldwidth.data.make_cities import make_cities
from worldwidth.dvcio.hashes import LISTING, Hashes
from worldwidth.model.checkpoint import load_model
from worldwidth.representation.represent import Plane, all_prompts, features_of, measure
from worldwidth.representation.rows import ALL, map_layer
from worldwidth.settings.paths import MODELS
from worldwidth.settings.schema import Settings

SHARES = (0.01, 0.03, 0.1, 0.25, 0.5)
"""Of pre-training, after which a checkpoint is shown: of those that there are the nearest."""
_HASHES = Hashes()
_STEP = re.compile(r"steps/(\d+)/[^/]+")


def checkpoint_table(found: Sequence[RunMaps], table: pd.DataFrame, cache: Path) -> pd.DataFrame:
    """One row a city and checkpoint: where it lies, where it is read, and the probe's ``r2`` and ``atlantis_error``.

    Args:
        table: :func:`worldwidth.comparison.representations.map_table` of all that is ``found``.
        cache: DVC's cached files by their hash; runs whose models it lacks have no rows.
    """
    first = set(first_runs(table)["experiment"]) if len(table) else set()
    done: set[str] = set()
    parts = []
    for run in found:
        digest = run.run.experiment.outs.get((MODELS / "base").as_posix(), "")
        if run.name in first and digest and digest not in done:
            parts.append(_table(run, digest, cache).assign(arm=run.arm, level=run.level))
            done.add(digest)
    whole = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return whole[["arm", "level", *(name for name in whole if name not in ("arm", "level"))]] if len(whole) else whole


def _table(run: RunMaps, digest: str, cache: Path) -> pd.DataFrame:
    try:
        with TemporaryDirectory() as temporary, threadpool_limits(1):
            steps = _linked(digest, cache, Path(temporary))
            return pd.concat([pd.DataFrame(), *_maps(run.run.settings, steps)], ignore_index=True)
    except (OSError, ValueError, WorldwidthError) as error:
        warn(f"{run.name}: its checkpoints have no maps: {error}")
        return pd.DataFrame()


def _linked(digest: str, cache: Path, folder: Path) -> dict[int, Path]:
    """Folders of some checkpoints of the model whose listing is ``digest``, by step; none where it is not there."""
    if not (cache / digest[:2] / digest[2:]).is_file():
        return {}
    files = {file["relpath"]: file["md5"] for file in json.loads(read_text(_sound(digest, cache)))}
    steps = sorted({int(match[1]) for path in files if (match := _STEP.fullmatch(path))})
    shown = {min(steps, key=lambda step: abs(step - share * steps[-1])) for share in SHARES if steps}
    for path, md5 in files.items():
        match = _STEP.fullmatch(path)
        if match and int(match[1]) in shown:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).symlink_to(_sound(md5, cache))
    return {step: folder / "steps" / str(step) for step in sorted(shown)}


def _sound(digest: str, cache: Path) -> Path:
    """A file of DVC's cache, which DVC itself would trust unread.

    Raises:
        WorldwidthError: it is missing or damaged.
    """
    path = cache / digest[:2] / digest[2:]
    if not path.is_file() or _HASHES.file(path) != digest.removesuffix(LISTING):
        raise WorldwidthError(f"{path} in DVC's cache is missing or damaged")
    return path.resolve()


def _maps(settings: Settings, steps: dict[int, Path]) -> Iterator[pd.DataFrame]:
    """The rows of each checkpoint."""
    if not steps:
        return
    plane = Plane.of(make_cities(settings.selected.world))
    prompts = all_prompts(settings, len(plane.ordinary))
    for step, folder in steps.items():
        config, weights = load_model(folder, "`dvc exp pull` fetches it")
        rows, arrays = measure({ALL: features_of(config, weights, prompts)[ALL]}, plane, "base", step)
        of_map = next(row for row in rows if row.layer == map_layer(config.num_hidden_layers))
        seen = (arrays["ordinary_seen"][0], arrays["atlantis_seen"][0])
        table = lie_and_seen((plane.ordinary, plane.atlantis), seen, plane.regions)
        yield table.round(0).assign(step=step, r2=round(of_map.r2, 3), atlantis_error=round(of_map.atlantis_error, 1))
