# Each target builds .venv by itself. PYTHON chooses the interpreter it is built with.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-browser lint bench gpu docs tutorials clean

demo: .venv/installed
	$(BIN)/riemannrnn compare

test: .venv/installed-test
	$(BIN)/python -m pytest

# Where the machine has no Chromium, playwright brings its own.
test-browser: .venv/installed-test
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[explore]' playwright
	command -v chromium || command -v chromium-browser || command -v google-chrome || $(BIN)/python -m playwright install chromium
	$(BIN)/python -m pytest -n 0 -m browser tests/test_explorer_browser.py

lint: .venv/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy manifolds riemannrnn

# Epoch, learning, default, stacks, stack-peers and manifolds need MNIST, in the folder that RIEMANNRNN_DATA names; without it they say so and are skipped.
bench: .venv/installed-bench
	for each in products released peers small growth epoch memory learning conditioning rates metrics step default stack-step stacks stack-peers manifolds convolution convolution-memory convolution-epochs tables; do $(BIN)/python -m benchmarks $$each || exit; done

# Both say so and end without an error where there is no GPU. CuPy is an extra: cuda12 or cuda13.
gpu: .venv/installed-test
	$(BIN)/python -m pytest -n 0 -m gpu
	$(BIN)/python -m benchmarks gpu

# Nothing is kept from the last build, so that pictures and numbers are those of this code.
docs: .venv/installed-docs
	rm -rf docs/_build docs/gallery docs/generated
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html

tutorials: .venv/installed
	for each in tutorials/*.py; do echo $$each; MPLBACKEND=Agg $(BIN)/python -W error $$each || exit; done

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

.venv/installed-test: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@ .venv/installed

.venv/installed-bench: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@ .venv/installed

.venv/installed-docs: .venv/bin/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[docs]'
	touch $@ .venv/installed

clean:
	rm -rf .venv docs/_build docs/gallery docs/generated
