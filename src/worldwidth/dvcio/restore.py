"""Taking a finished study, or what there is of one, from DVC's run cache in one go.

`dvc repro` restores stage after stage, and reads dvc.yaml, dvc.lock and params.yaml anew for each. Here DVC is asked
once, its cache is checked out, and dvc.lock is written once.
"""

import sys
from typing import Any

from worldwidth.dvcio.forecast import Known, forecast_with_outs
from worldwidth.dvcio.repo import open_repo


def restore_cached() -> list[str]:
    """Restore every stage whose outputs are known and in the cache, and record it in dvc.lock; return their names.

    Raises:
        WorldwidthError: DVC cannot read the pipeline.
    """
    from dvc.rwlock import rwlock

    with open_repo(wait=True) as repo, repo.lock:
        known = {name: found for name, found in forecast_with_outs(repo)[1].items() if found.entry}
        repo._reset()  # the forecast has put hashes into the stages that are not those of their files
        stages = [stage for stage in repo.index.stages if stage.addressing in known]
        written = [out.fs_path for stage in stages for out in stage.outs]
        with rwlock(repo.tmp_dir, repo.fs, " ".join(sys.argv), [], written, False):
            for stage in stages:
                check_out(repo, stage, known[stage.addressing])
            if stages:
                stages[0].dvcfile.dump_stages(stages, update_pipeline=False)
    return [stage.addressing for stage in stages]


def check_out(repo: Any, stage: Any, known: Known) -> None:
    """Put the outputs of ``stage`` into the tree as the run cache has them, and let it know what they are."""
    from dvc.stage.loader import StageLoader

    stage.remove_outs()
    repo.stage_cache._create_stage(known.entry, wdir=stage.wdir).checkout()
    StageLoader.fill_from_lock(stage, known.entry)
    for out in stage.outs:
        if out.use_cache:
            out.ignore()  # in .gitignore, as after a run
