# Each target sets up what it needs by itself, in .venv. See README.md.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STUDIO := .venv-label-studio
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

# Where `make train` writes, and, if there are any, the texts that data/real points to.
OUT ?= models/trained
TEXTS ?=
# And further options of `python -m training fit`.
FIT ?=
# Options of the comparison with other servers, for example `make bench-serving BENCH="--model accurate --rounds 5"`.
BENCH ?=

.PHONY: serve test train check docker faults label-studio bench-serving clean

serve: $(VENV)/serve.stamp ## start the service on port 8000
	exec $(BIN)/python -m service

test: check $(VENV)/dev.stamp ## every check and every test
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

check: $(VENV)/dev.stamp ## style, types, architecture, corpus
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m training check data/statements --splits data/splits

train: $(VENV)/train.stamp ## train a version from scratch into OUT
	mkdir -p models
	$(if $(TEXTS),rm -f models/real.jsonl && $(BIN)/python -m training rehydrate --texts $(TEXTS) --out models/real.jsonl)
	$(BIN)/python -m training fit --data data/statements $(if $(TEXTS),models/real.jsonl) --splits data/splits --out $(OUT) $(FIT)

docker: ## build both images and run them for real
	bash tests/docker.sh

faults: $(VENV)/dev.stamp ## kill the service and its trainings twenty times each
	$(BIN)/python -m pytest tests/service/test_faults.py --kills 20

label-studio: $(VENV)/dev.stamp $(STUDIO)/bin/label-studio ## the real Label Studio with the service as its backend
	$(BIN)/python tests/labelstudio.py $(STUDIO)/bin/label-studio

bench-serving: $(VENV)/train.stamp ## Brink and general model servers on the same weights; writes models/serving
	$(BIN)/python benchmarks/serving/peers.py $(BENCH)

clean: ## remove the environments
	rm -rf $(VENV) $(STUDIO) .venv-peers

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# An environment of its own: what it needs is at odds with what the service needs.
$(STUDIO)/bin/label-studio:
	$(PYTHON) -m venv $(STUDIO)
	$(STUDIO)/bin/python -m pip install --quiet --disable-pip-version-check label-studio==1.23.2

$(VENV)/serve.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	touch $@

$(VENV)/train.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[train]'
	touch $@ $(VENV)/serve.stamp

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[train,dev]'
	touch $@ $(VENV)/serve.stamp $(VENV)/train.stamp
