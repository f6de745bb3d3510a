# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data

# Two installations into one environment would disturb each other.
.NOTPARALLEL:
.PHONY: help run test test-system check format models train convert bench clean

help: ## List the targets
	@echo "edge-fer: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/.run models ## Try it: sample clip, broker and live view (CAMERA=/dev/video0 BROKER=mqtt://user@host:1883 ARGS="--seconds 20")
	@exec $(BIN)/edge-fer demo $(if $(CAMERA),--camera "$(CAMERA)") $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

test: $(VENV)/.dev models check ## Check the code and run all tests
	$(BIN)/python -m pytest $(ARGS)

test-system: $(VENV)/.dev models ## Long tests against real servers: RTSP, MJPEG, mosquitto (apt-get install ffmpeg mosquitto gir1.2-gst-rtsp-server-1.0 ...)
	$(BIN)/python -m pytest -m system $(ARGS)

check: $(VENV)/.dev ## Lint, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

models: $(VENV)/.run ## Fetch the detector files and the sample clip
	@$(BIN)/python -m converter assets

train: $(VENV)/.dev ## Train a network (NETWORK=nano_b DATA=folder of ferplus_{train,valid}.npz); goes on where it stopped
	$(BIN)/python -m converter train --recipe converter/recipes/train_$(or $(NETWORK),nano_b).toml --data $(DATA) --out runs/$(or $(NETWORK),nano_b) $(ARGS)

convert: $(VENV)/.dev models ## Convert weights to the shipped models (NETWORK=nano_b DATA=folder WEIGHTS=runs/nano_b/trained.keras)
	$(BIN)/python -m converter convert $(or $(WEIGHTS),converter/weights/$(or $(NETWORK),nano_b).keras) --recipe float32 --recipe int8 --calibration $(DATA)/ferplus_train.npz --validation $(DATA)/ferplus_valid.npz --out edge_fer/models $(ARGS)

bench: $(VENV)/.dev models ## Measure this board: faces per second and watts (ARGS="--power-mode 15W --plot speed.png --baseline keras")
	$(BIN)/edge-fer bench $(ARGS)

clean: ## Remove the environment and all caches
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v < (3, 14) else "edge-fer needs Python 3.10 to 3.13, $(PYTHON) is %d.%d: make PYTHON=python3.11 ..." % v)'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment: on Debian and Ubuntu, apt-get install python3-venv"; exit 1; }

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	@echo "Installing edge-fer into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[litert,demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing edge-fer and what its tests need into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[litert,demo,bench,convert,onnx,dev]'
	@touch $@ $(VENV)/.run
