# `make` alone lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
# Tests at a time: most wait for processes and brokers. Each worker needs up to 1.2 GB, once it has TensorFlow. With ARGS
# one after the other, without workers: a few tests are done sooner, and those of -m system measure the machine.
JOBS ?= $(if $(ARGS),0,3)

# Two installations into one environment would disturb each other.
.NOTPARALLEL:
.PHONY: help run test test-system test-arm test-vm check format models train convert bench clean \
	boards bundle deploy rollback status logs undeploy

# What the targets of deployment have in common; an empty BOARD or HOST is told with what would be right.
AT = --host "$(HOST)" $(if $(SSH_CONFIG),--ssh-config "$(SSH_CONFIG)")
BUILD = --board "$(BOARD)" $(if $(SYSTEM),--system "$(SYSTEM)") $(if $(PYTHON_TREE),--python-tree "$(PYTHON_TREE)") $(if $(KEY),--key "$(KEY)")
WISHES = $(if $(BUNDLE),--bundle "$(BUNDLE)") $(if $(CONFIG),--config "$(CONFIG)") $(if $(MQTT_PASSWORD_FILE),--mqtt-password-file "$(MQTT_PASSWORD_FILE)")

help: ## List the targets
	@echo "edge-fer: make TARGET"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

run: $(VENV)/.run models ## Try it: sample clip, broker and live view (CAMERA=/dev/video0 BROKER=mqtt://user@host:1883 ARGS="--seconds 20")
	@exec $(BIN)/edge-fer demo $(if $(CAMERA),--camera "$(CAMERA)") $(if $(BROKER),--broker "$(BROKER)") $(ARGS)

test: $(VENV)/.dev models check ## Check the code and run all tests, JOBS=3 at a time (some of them: ARGS="tests/test_cli.py -k version")
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal --max-worker-restart 0 $(ARGS)

test-system: $(VENV)/.dev models ## Long tests against real servers: RTSP, MJPEG, mosquitto (apt-get install ffmpeg mosquitto gir1.2-gst-rtsp-server-1.0 ...)
	$(BIN)/python -m pytest -m system $(ARGS)

test-arm: $(VENV)/.dev models ## The packages of every board as programs for ARM, emulated, as root (apt-get install mmdebstrap)
	$(BIN)/python -m pytest -m arm tests/arm $(ARGS)

test-vm: $(VENV)/.dev models ## A whole ARM machine, emulated: deployment, camera, network, power cuts; an hour (apt-get install qemu-system-arm mmdebstrap ...)
	$(BIN)/python -m pytest -m vm tests/vm $(ARGS)

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

boards: $(VENV)/.deploy ## List the boards, and what is installed on each
	@$(BIN)/python -m deploy boards

bundle: $(VENV)/.deploy models ## Build what is installed on a board, one signed archive (BOARD=jetson-nano PYTHON_TREE=folder SYSTEM=... KEY=...)
	@$(BIN)/python -m deploy bundle $(BUILD) $(ARGS)

deploy: $(if $(INVENTORY),$(VENV)/.fleet,$(VENV)/.deploy) models ## Install on a board over ssh, start it, go back if it is not well (BOARD=raspberry-pi-5 HOST=user@address CONFIG=edge-fer.toml; many: INVENTORY=fleet.yml)
	@$(BIN)/python -m deploy $(if $(INVENTORY),fleet --inventory "$(INVENTORY)" $(if $(KEY),--key "$(KEY)") $(ARGS),deploy $(BUILD) $(AT) $(WISHES) $(ARGS))

rollback: $(VENV)/.deploy ## Have a board run the release before (HOST=user@address)
	@$(BIN)/python -m deploy rollback $(AT) $(ARGS)

status: $(VENV)/.deploy ## Tell what runs on a board, and how it is (HOST=user@address)
	@$(BIN)/python -m deploy status $(AT) $(ARGS)

logs: $(VENV)/.deploy ## Show the journal of a board (HOST=user@address ARGS=-f)
	@$(BIN)/python -m deploy logs $(AT) $(ARGS)

undeploy: $(VENV)/.deploy ## Take it off a board; configuration and waiting events stay (HOST=user@address ARGS=--purge)
	@$(BIN)/python -m deploy undeploy $(AT) $(ARGS)

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
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[litert,demo,bench,convert,onnx,deploy,fleet,dev]'
	@touch $@ $(VENV)/.run $(VENV)/.deploy $(VENV)/.fleet

$(VENV)/.deploy: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what deployment needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[deploy]'
	@touch $@

$(VENV)/.fleet: pyproject.toml | $(VENV)/bin/python
	@echo "Installing what deployment to many boards needs into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[deploy,fleet]'
	@touch $@ $(VENV)/.deploy
