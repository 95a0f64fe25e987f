#!/usr/bin/env bash
# The tests of the last commit in the worst surroundings, all at once: `tests/hostile.sh [ARGUMENTS OF PYTEST]`.
# A folder, a home and temporary files with spaces, accents and another script in their names; locale C; another
# shell; umask 077; Ctrl-C ignored; the settings of a user of git, DVC and matplotlib; a hook's variables.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd -P)
around=$(mktemp -d)
trap 'rm -rf "$around"' EXIT
umask 077
there="$around/Mes études 研究 100%/l'ami"
git clone --quiet "$project" "$there"

home="$around/chez moi é"
mkdir -p "$home/.config/matplotlib" "$home/.config/dvc" "$home/tmp"
printf 'text.usetex: True\nfigure.dpi: 33\nfont.size: 30\nbackend: TkAgg\n' > "$home/.config/matplotlib/matplotlibrc"
printf '[core]\n    autostage = true\n    hardlink_lock = true\n[cache]\n    type = copy\n' > "$home/.config/dvc/config"
printf '[commit]\n\tgpgsign = true\n[core]\n\tautocrlf = true\n\tquotepath = true\n[init]\n\tdefaultBranch = trunk\n' > "$home/.gitconfig"

make_shell='import pathlib, sys, other_machines; other_machines.fake_tcsh(pathlib.Path(sys.argv[1]))'
PYTHONPATH="$there/tests" "$project/.venv/bin/python" -c "$make_shell" "$home"

hook="$around/hook"
git init --quiet "$hook"
before=$(cd "$hook" && find . -type f -exec cksum {} + | sort)

cd "$there"
trap '' INT
code=0
env -u LANG HOME="$home" XDG_CONFIG_HOME="$home/.config" TMPDIR="$home/tmp" SHELL="$home/tcsh" \
    LC_ALL=C COLUMNS=20 TERM=dumb TZ=Pacific/Chatham \
    MPLBACKEND=module://no.such.backend MATPLOTLIBRC="$home/.config/matplotlib" \
    GIT_DIR="$hook/.git" GIT_WORK_TREE="$hook" GIT_INDEX_FILE="$hook/.git/index" GIT_PREFIX= \
    DVC_ROOT=/no DVC_STAGE=base SLURM_JOB_ID=7 \
    PYTHONPATH="$there/src" PATH="$project/.venv/bin:$PATH" \
    pytest --numprocesses auto --dist loadfile --no-loadscope-reorder "$@" || code=$?

if [[ $(cd "$hook" && find . -type f -exec cksum {} + | sort) != "$before" ]]; then
    echo "hostile.sh: the repository of the git hook was changed" >&2
    exit 1
fi
exit "$code"
