# Two commands: `make sample` decodes a recording that ships with the project, `make test` runs the tests.
# Both set up .venv on their first run.

PYTHON ?= python3.11
VENV := .venv
RUN := $(VENV)/bin/python
# uv does not read pip's settings: a local folder of wheels is passed on
export UV_FIND_LINKS ?= $(PIP_FIND_LINKS)

.PHONY: sample test faults lint evaluate setup clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check uv
	$(VENV)/bin/uv pip install --quiet --python $(RUN) --constraint constraints.txt --editable ".[dev]"
	touch $@

sample: setup
	$(RUN) sample.py --task eeg2both --eeg examples/recordings/cvep-letter.edf --duration 2 --out outputs/sample

test: setup lint
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2

# the long form of the fault suite: half an hour; `make test` runs its short form
faults: setup
	OMP_NUM_THREADS=1 NEUROLEON_KILLS=200 NEUROLEON_RANK_CHANGES=50 $(RUN) -m pytest -m faults -s --timeout 7200

lint: setup
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

evaluate: setup
	PYTHON=$(RUN) bash examples/from_raw_to_report.sh --short

clean:
	rm -rf $(VENV) runs outputs
