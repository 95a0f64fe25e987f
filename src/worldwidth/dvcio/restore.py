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
        read = {dep.fs_path for stage in repo.index.stages if stage.addressing in names for dep in stage.deps}
        restore(repo, {name: known[name] for name in inputs}, lambda out: out.fs_path in read)


def _missing(answers: list[Forecast], wanted: set[str]) -> str:
    """What to say of the first stage of ``wanted`` that would have to run."""
    first = next(answer for answer in answers if answer.stage in wanted and answer.state == RUN)
    return (
        f"{first.stage} should have come from DVC's run cache, which does not have it ({first.reason}); it is not made "
        "a second time here: submit it, or run the same command, again"
    )


def record_all() -> list[str]:
    """Record all stages in dvc.lock, from DVC's run cache; put those outs into this tree that lie in git.

    Returns:
        The stages that the run cache lacks; where there are some nothing is done.

    Raises:
        WorldwidthError: DVC cannot read the pipeline, or its cache is damaged.
    """
    with open_repo(wait=True) as repo, repo.lock:
        answers, known = forecast_with_outs(repo)
        lacking = still_to_do(answers)
        if not lacking:
            restore(repo, known, lambda out: not out.use_cache)
        return lacking


def restore(repo: Any, known: Mapping[str, Known], wanted: Callable[[Any], bool] = lambda out: True) -> list[str]:
    """Restore the stages of ``known`` that need it and record them in dvc.lock; return their names.

    Args:
        repo: locked.
        known: stage -> what :func:`forecast_with_outs` says of it.
        wanted: whether one of DVC's outs is to be put into the tree; the others are only recorded.

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
                _check_out(repo, stage, entries[stage.addressing], wanted)
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


def _check_out(
    repo: Any, stage: Any, entry: dict[str, Any] | None, wanted: Callable[[Any], bool] = lambda out: True
) -> None:
    """Tell ``stage`` the hashes of an entry of the run cache, and put its outs that are wanted into the tree."""
    from dvc.stage.loader import StageLoader

    cached = repo.stage_cache._create_stage(entry, wdir=stage.wdir)
    cached.name = stage.name
    paths = {out.fs_path for out in stage.outs if wanted(out)}
    cached.outs = [out for out in cached.outs if out.fs_path in paths]
    cached.remove_outs()
    cached.checkout()
    refuse_damaged(cached)
    StageLoader.fill_from_lock(stage, entry)
    for out in stage.outs:
        if out.use_cache:
            Path(out.fs_path).parent.mkdir(parents=True, exist_ok=True)  # for its .gitignore
            out.ignore()  # as after a run
        elif os.path.islink(out.fs_path):  # a file that lies in git is no link into the cache, whatever cache.type says
            with replacing(Path(out.fs_path)) as temporary:
                shutil.copyfile(out.fs_path, temporary)
