# `make` alone explains every target.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

READY := $(VENV)/.ready
WORKERS := --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: help repro sweep widths tune slurm compare share test test-all plan render check doctor lint format bench experiments env clean

## show this help
help:
	@awk '/^## /{text=substr($$0,4)} /^[a-z-]+:/{if (text) printf "  make %-12s %s\n", substr($$1,1,length($$1)-1), text; text=""}' $(MAKEFILE_LIST)

## run the whole study at the scale and arch of params.yaml, independent stages side by side (JOBS=1: one at a time)
repro: $(READY)
	worldwidth run $(if $(JOBS),--jobs $(JOBS))

## run a sweep of params.yaml as DVC experiments: NAME=rates; what exists is skipped
sweep: $(READY)
	worldwidth sweep $(NAME) $(if $(JOBS),--jobs $(JOBS))

## run widths as DVC experiments: ARCHS="narrow wide" SEEDS="42 43 44" BUDGET="epochs flops"; what exists is skipped
widths: $(READY)
	worldwidth widths $(if $(ARCHS),--archs $(ARCHS)) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(BUDGET),--budgets $(BUDGET)) \
		$(if $(JOBS),--jobs $(JOBS))

## choose each arch's learning rate of fine-tuning on another draw: ARCHS="narrow wide"; WRITE=1 puts it into params.yaml
tune: $(READY)
	worldwidth tune $(if $(ARCHS),--archs $(ARCHS)) $(if $(JOBS),--jobs $(JOBS)) $(if $(WRITE),--write)

## submit what is missing to a Slurm cluster: ARCH=wide, or NAME=rates, or ARCHS SEEDS BUDGET as for widths; see docs/cluster.md
slurm: $(READY)
	worldwidth slurm submit $(NAME) $(if $(ARCHS)$(ARCH),--archs $(ARCHS) $(ARCH)) $(if $(SEEDS),--seeds $(SEEDS)) \
		$(if $(BUDGET),--budgets $(BUDGET))

## compare those experiments: the table here, results/comparison/SCALE/* and report/SCALE/index.html
compare: $(READY)
	worldwidth compare

## push all experiments and their files, to be compared in another clone: GIT=origin, and DVC's default remote; docs/share.md
share: $(READY)
	@dvc remote default > /dev/null 2>&1 || \
		{ echo "share: DVC has no default remote: dvc remote add --default NAME PLACE" >&2; exit 2; }
	dvc exp push $(or $(GIT),origin) --all-commits --run-cache

## run the quick tests: three minutes on two cores
test: $(READY)
	pytest $(WORKERS)

## run all tests, those through the real DVC and on a real Slurm as well
test-all: $(READY)
	pytest $(WORKERS) -m ''

## show what would run and why, and what it costs
plan: $(READY)
	worldwidth plan

## write dvc.yaml, and the picture of the packages, again after editing params.yaml, the template or an import
render: $(READY)
	worldwidth render
	python -m worldwidth.commands.architecture

## does dvc.yaml match params.yaml, and dvc.lock this code and these results?
check: $(READY)
	worldwidth render --check
	worldwidth check --lock

## what is wrong with this project on this machine, and the commands that fix it; works without the environment, too
doctor:
	@PYTHONPATH=src $$(test -x $(BIN)/python && echo python || echo $(PYTHON)) -m worldwidth.doctor

## lint, format check, types, and which package imports which
lint: $(READY)
	ruff check
	ruff format --check
	mypy
	lint-imports --no-cache

## format the code
format: $(READY)
	ruff format
	ruff check --fix

## measure side by side with the published way of working (BENCH='--quick' for a first look; else about half an hour)
bench: $(READY)
	python benchmarks/bench.py $(BENCH)

## the experiments of this commit beside each other, in 120 columns (`make compare` has the rest)
experiments: $(READY)
	dvc exp show --no-pager --only-changed --drop 'Created|parameters|ftwb0.transfer|ftwb2.transfer|.*(_|/|cells|measurable|constant|step|tokens|flops|difference).*'

## make the virtual environment: 2.5 GB, minutes, from a Python package index
env: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -I src/worldwidth/commands/environment.py $(VENV)
	$(BIN)/python -m worldwidth.commands.offline_plots
	$(BIN)/python -m worldwidth.native
	touch $@

## delete what is neither in git nor in DVC's cache (the environment, timings and DVC's cache stay)
clean:
	rm -rf partial dvc_plots .mypy_cache .ruff_cache .pytest_cache
