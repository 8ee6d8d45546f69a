# make demo and make test set up everything themselves; Python 3.11 or newer is all they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEVICES_STAMP := $(VENV)/.devices-installed
COMMA := ,

.PHONY: setup setup-devices demo test test-devices test-slow test-matrix lint format bench dist clean

# One step of the set-up: says what it does, runs it with its output in LOG, shows that where it fails.
LOG := $(VENV)/set-up.log
define step
@echo "set-up: $(1)"; mkdir -p $(VENV); $(2) > $(LOG) 2>&1 & \
	child=$$!; trap 'kill $$child; exit 130' INT TERM; seconds=0; \
	while kill -0 $$child 2> /dev/null; do \
		sleep 1; seconds=$$((seconds + 1)); \
		if [ $$((seconds % 20)) = 0 ]; then echo "set-up: still at it after $$seconds s"; fi; \
	done; \
	wait $$child || { \
		cat $(LOG); \
		echo "error: the set-up failed; the output above says why. Run make setup again to go on."; \
		exit 1; \
	}
endef

# Rebuilt only when what it is made from has changed.
$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; $(PYTHON) is older. Try: make PYTHON=python3.12 setup"; exit 1; }
	$(call step,1 of 3: a Python environment in $(VENV) (seconds),$(PYTHON) -m venv $(VENV))
	$(call step,2 of 3: the newest pip (seconds),$(BIN)/python -m pip install --upgrade pip)
	$(call step,3 of 3: torch$(COMMA) ONNX Runtime$(COMMA) LiteRT$(COMMA) tools and this package (about 7 GB; two minutes or more),\
		$(BIN)/python -m pip install -c constraints.txt -e '.[tflite$(COMMA)tensorboard$(COMMA)test$(COMMA)dev]')
	@echo "set-up: done"
	@touch $@

setup: $(STAMP)

# OpenVINO, ExecuTorch and Arm's compiler Vela beside the rest: about 0.4 GB more.
$(DEVICES_STAMP): $(STAMP)
	$(call step,OpenVINO$(COMMA) ExecuTorch and Vela (a minute or more),\
		$(BIN)/python -m pip install -c constraints.txt -e '.[openvino$(COMMA)executorch$(COMMA)npu]')
	@touch $@

setup-devices: $(DEVICES_STAMP)

demo: $(STAMP)
	$(BIN)/proxyless-hw demo

# Two processes with a thread each; a file's tests stay together, since they share what they measured.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

# The tests that need what setup-devices installs; the others skip them where it is absent.
test-devices: $(DEVICES_STAMP)
	$(BIN)/python -m pytest -k "openvino or executorch or extra_runtimes or vela" tests/profilers

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

# The fast tests on the oldest and the newest releases that setup.cfg allows: two environments of 6 GB.
test-matrix: $(STAMP)
	$(BIN)/python tests/version_matrix.py --python $(PYTHON)

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

dist: $(STAMP)
	$(BIN)/python -m build --outdir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info .import_linter_cache .mypy_cache .ruff_cache .pytest_cache
