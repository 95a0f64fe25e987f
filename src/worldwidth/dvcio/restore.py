"""Taking a finished study, or some of its stages, from DVC's run cache.

`dvc repro` restores stage after stage, reads dvc.yaml, dvc.lock and params.yaml anew for each, and trusts its cache
unread. Here DVC is asked once, its cache is checked out and hashed, and dvc.lock is written once.
"""

import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldwidth.core.files import replacing
from worldwidth.dvcio.config import has_hardlink_lock
from worldwidth.dvcio.forecast import CACHED, Known, forecast_stage, forecast_with_outs
from worldwidth.dvcio.integrity import refuse_damaged
from worldwidth.dvcio.repo import open_repo
from worldwidth.dvcio.rwlock import forget_the_dead


def restore_cached() -> list[str]:
    """Restore every stage whose outputs are known and in the cache, and record it in dvc.lock; return their names.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or its cache is damaged; what is sound is restored all the same.
    """
    with open_repo(wait=True) as repo, repo.lock:
        return restore(repo, forecast_with_outs(repo)[1])


def restore(repo: Any, known: Mapping[str, Known]) -> list[str]:
    """Restore the stages of ``known`` that need it and record them in dvc.lock; return their names.

    Args:
        repo: locked.
        known: stage -> what :func:`forecast_with_outs` says of it.

    Raises:
        WorldwidthError: DVC's cache is damaged; what comes before that is restored all the same.
    """
    from dvc.rwlock import rwlock

    entries = {name: found.entry for name, found in known.items() if found.entry}
    repo._reset()  # the forecast has put hashes into the stages that are not those of their files
    stages = [stage for stage in repo.index.stages if stage.addressing in entries]
    written = [out.fs_path for stage in stages for out in stage.outs]
    restored: list[Any] = []
    forget_the_dead(repo)
    with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), [], written, has_hardlink_lock(repo)):
        try:
            for stage in stages:
                _check_out(repo, stage, entries[stage.addressing])
                restored.append(stage)
        finally:
            if restored:
                restored[0].dvcfile.dump_stages(restored, update_pipeline=False)
    return [stage.addressing for stage in restored]


def restore_stage(repo: Any, stage: Any) -> str:
    """Restore one stage if the run cache has it, without a word in dvc.lock; return what DVC would have done with it.

    Args:
        repo: locked.
        stage: DVC's; it may get other hashes than dvc.lock has.

    Raises:
        WorldwidthError: DVC's cache is damaged.
    """
    state, known = forecast_stage(repo, stage)
    if state == CACHED:
        assert known
        _check_out(repo, stage, known.entry)
    return state


def _check_out(repo: Any, stage: Any, entry: dict[str, Any] | None) -> None:
    """Put the outputs of ``stage`` into the tree as an entry of the run cache has them, and tell it their hashes."""
    from dvc.stage.loader import StageLoader

    stage.remove_outs()
    repo.stage_cache._create_stage(entry, wdir=stage.wdir).checkout()
    StageLoader.fill_from_lock(stage, entry)
    refuse_damaged(stage)
    for out in stage.outs:
        if out.use_cache:
            out.ignore()  # in .gitignore, as after a run
        elif os.path.islink(out.fs_path):  # a file that lies in git is no link into the cache, whatever cache.type says
            with replacing(Path(out.fs_path)) as temporary:
                shutil.copyfile(out.fs_path, temporary)
