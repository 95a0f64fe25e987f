"""Taking a finished study, or some of its stages, from DVC's run cache.

`dvc repro` restores stage after stage, reads dvc.yaml, dvc.lock and params.yaml anew for each, and trusts its cache
unread. Here DVC is asked once, its cache is checked out and hashed, and dvc.lock is written once.
"""

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worldwidth.core.errors import WorldwidthError
from worldwidth.core.files import replacing
from worldwidth.dvcio.config import has_hardlink_lock
from worldwidth.dvcio.forecast import CACHED, RUN, Forecast, Known, forecast_stage, forecast_with_outs, still_to_do
from worldwidth.dvcio.integrity import refuse_damaged
from worldwidth.dvcio.repo import ancestors, needs_of, open_repo
from worldwidth.dvcio.rwlock import forget_the_dead


def restore_cached() -> list[str]:
    """Restore every stage whose outputs are known and in the cache, and record it in dvc.lock; return their names.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or its cache is damaged; what is sound is restored all the same.
    """
    with open_repo(wait=True) as repo, repo.lock:
        return restore(repo, forecast_with_outs(repo)[1])


def restore_inputs(names: list[str]) -> None:
    """Put what the stages ``names`` read from others into this tree, from DVC's cache, and record it in dvc.lock.

    Raises:
        WorldwidthError: the run cache does not have it, or it is damaged.
    """
    with open_repo(wait=True) as repo, repo.lock:
        needs = needs_of(repo)
        answers, known = forecast_with_outs(repo, ancestors(names, needs))
        inputs = sorted(set().union(*(needs[stage] for stage in names)) - set(names))
        for name in inputs:
            if name not in known:
                raise WorldwidthError(_missing(answers, {name} | ancestors([name], needs)))
        restore(repo, {name: known[name] for name in inputs})


def _missing(answers: list[Forecast], wanted: set[str]) -> str:
    """What to say of the first stage of ``wanted`` that would have to run."""
    first = next(answer for answer in answers if answer.stage in wanted and answer.state == RUN)
    return (
        f"{first.stage} should have come from DVC's run cache, which does not have it ({first.reason}); it is not made "
        "a second time here: submit it, or run the same command, again"
    )


def record_all(restored: Callable[[str], bool]) -> list[str]:
    """Record all stages in dvc.lock, from DVC's run cache, and restore some; return those that it lacks.

    Where it lacks some nothing is done.

    Args:
        restored: whether the outs of a stage are to be put into this tree, too.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or its cache is damaged.
    """
    with open_repo(wait=True) as repo, repo.lock:
        answers, known = forecast_with_outs(repo)
        lacking = still_to_do(answers)
        if not lacking:
            restore(repo, known, restored)
        return lacking


def restore(repo: Any, known: Mapping[str, Known], restored: Callable[[str], bool] = lambda name: True) -> list[str]:
    """Restore the stages of ``known`` that need it and record them in dvc.lock; return their names.

    Args:
        repo: locked.
        known: stage -> what :func:`forecast_with_outs` says of it.
        restored: whether the outs of a stage are to be put into the tree; else it is only recorded.

    Raises:
        WorldwidthError: DVC's cache is damaged; what comes before that is restored all the same.
    """
    from dvc.rwlock import rwlock

    entries = {name: found.entry for name, found in known.items() if found.entry}
    repo._reset()  # the forecast has put hashes into the stages that are not those of their files
    stages = [stage for stage in repo.index.stages if stage.addressing in entries]
    written = [out.fs_path for stage in stages for out in stage.outs]
    done: list[Any] = []
    forget_the_dead(repo)
    with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), [], written, has_hardlink_lock(repo)):
        try:
            for stage in stages:
                if restored(stage.addressing):
                    _check_out(repo, stage, entries[stage.addressing])
                else:
                    _take_hashes(stage, entries[stage.addressing])
                done.append(stage)
        finally:
            if done:
                done[0].dvcfile.dump_stages(done, update_pipeline=False)
    return [stage.addressing for stage in done]


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
    stage.remove_outs()
    repo.stage_cache._create_stage(entry, wdir=stage.wdir).checkout()
    _take_hashes(stage, entry)
    refuse_damaged(stage)
    for out in stage.outs:
        # a file that lies in git is no link into the cache, whatever cache.type says
        if not out.use_cache and os.path.islink(out.fs_path):
            with replacing(Path(out.fs_path)) as temporary:
                shutil.copyfile(out.fs_path, temporary)


def _take_hashes(stage: Any, entry: dict[str, Any] | None) -> None:
    """Tell ``stage`` the hashes of an entry of the run cache, and git to ignore its outs, as after a run."""
    from dvc.stage.loader import StageLoader

    StageLoader.fill_from_lock(stage, entry)
    for out in stage.outs:
        if out.use_cache:
            Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)  # for its .gitignore
            out.ignore()
