"""What this package uses of DVC beside its command line and its documented API, and in which versions it was read.

DVC promises none of it. tests/test_dvc_contract.py checks every entry, so that a new version fails there, in a readable
place; until it has been checked, pyproject.toml keeps it away, and :func:`explain` says so to who installs it anyway.
"""

from importlib.metadata import version

FIRST, BELOW = (3, 63), (3, 68)
"""The versions of DVC in which the entries below hold: from the first on, and below the second."""

RELIED_ON = {
    "dvc.repo:Repo": "_wait_for_lock makes its lock wait; it has tmp_dir, fs, config, stage, stage_cache and cache",
    "dvc.repo:Repo.site_cache_dir": "the folder of its database of file hashes, known before that is opened",
    "dvc.repo:Repo._reset": "forgets what was read of dvc.yaml, dvc.lock and params.yaml",
    "dvc.repo.stage:StageLoad.collect": "the stages that a name stands for",
    "dvc.repo:Repo.index": "its stages are all, in the order of dvc.yaml",
    "dvc.repo.index:Index.graph": "stage -> the stages it reads from, as edges",
    "dvc.lock:LockError": "begins with 'Unable to acquire lock' when another command holds the lock",
    "dvc.rwlock:rwlock": "says which paths a command reads and writes, and stops over those that another one uses",
    "dvc.rwlock:_edit_rwlock": "the list behind it, {'read': {path: [info]}, 'write': {path: info}}, info with its pid",
    "dvc.rwlock:RWLOCK_FILE": "the name of its file in tmp_dir",
    "dvc.rwlock:RWLockFileCorruptedError": "the file is no JSON",
    "dvc.rwlock:RWLockFileFormatError": "the file is JSON of another form",
    "dvc.stage:Stage.changed_stage": "whether its command is another than in dvc.lock",
    "dvc.stage:Stage.remove_outs": "deletes its outs",
    "dvc.stage:Stage.outs_cached": "whether the cache has all its outs",
    "dvc.stage:Stage.checkout": "puts its outs, as their hash_info says, into the tree",
    "dvc.stage:Stage.save": "hashes its dependencies and outs; with run_cache an entry goes into the run cache",
    "dvc.stage:Stage.commit": "puts its outs into the cache; only prints an error where that fails",
    "dvc.stage.cache:_can_hash": "whether the run cache takes the stage",
    "dvc.stage.cache:StageCache.save": "puts an entry into the run cache, and into the cache the outs that git keeps",
    "dvc.stage.cache:StageCache._load": "the newest entry for the dependencies of a stage, in the form of dvc.lock",
    "dvc.stage.cache:StageCache._create_stage": "a stage with the outs of an entry",
    "dvc.stage.loader:StageLoader.fill_from_lock": "puts the hashes of an entry into a stage",
    "dvc.dvcfile:ProjectFile.dump_stages": "writes stages into dvc.lock",
    "dvc.output:Output.status": "empty while the file is what hash_info says",
    "dvc.output:Output.ignore": "adds it to .gitignore",
    "dvc.output:Output.get_hash": "the hash of the file, which the run cache asks for",
    "dvc.dependency.base:Dependency.save": "sets hash_info to the hash of the file",
    "dvc.dependency.param:ParamsDependency.fill_values": "sets hash_info to the values of its keys",
    "dvc.dependency.param:ParamsDependency.status": "{file: {key: what became of it}}",
    "dvc_data.hashfile.meta:Meta": "size and the like of a file; empty without arguments",
    "dvc.config:Config": "the configuration of the folder .dvc that it is given, by section",
    "dvc.config:Config.load_one": "the configuration of one level",
    "dvc.config:Config.load_file": "one file of it, unchecked",
    "dvc.config:Config.validate": "raises ConfigError where DVC does not know a key",
    "dvc_objects.fs.generic:test_links": "those of some link types that work between two places, tried",
    "dvc.utils.serialize:modify_yaml": "the values of a YAML file, to be changed; its comments stay",
}
"""Where it lies -> what is relied on."""


def is_known() -> bool:
    """Whether the installed DVC is one in which the entries hold."""
    major, minor = version("dvc").split(".")[:2]
    return FIRST <= (int(major), int(minor)) < BELOW


def explain(error: Exception) -> str:
    """What to say when another DVC than those answers otherwise."""
    first, below = (".".join(map(str, bound)) for bound in (FIRST, BELOW))
    return (
        f"DVC {version('dvc')} answers otherwise than this needs ({error}); "
        f"install another: `pip install 'dvc>={first},<{below}'`"
    )
