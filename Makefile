# A fresh machine needs Python 3.11 to 3.13 and a package index; everything else is installed here, into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-slow lint check bench bench-toy bench-peer bench-memory bench-experts bench-reading \
	bench-scaling bench-soak bench-adult bench-tox21 bench-sentences bench-omniglot bench-affinity \
	bench-transfer example-multi-mnist docs-tables clean

demo: $(VENV)/.installed
	TF_CPP_MIN_LOG_LEVEL=3 $(BIN)/keras-mtl demo $(DEMO)

# In two parts: TensorFlow keeps some 10 MB of each model that was trained in a process.
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile tests/unit
	$(BIN)/python -m pytest -n 2 --dist loadfile --ignore tests/unit

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 -m slow tests/unit
	$(BIN)/python -m pytest -n 2 -m slow --ignore tests/unit

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: test

bench: $(VENV)/.installed
	$(BIN)/python benchmarks/step_cost.py --json step_cost.json

bench-toy: $(VENV)/.installed
	$(BIN)/python benchmarks/toy_problem.py --json toy_problem.json --plot docs/toy_problem.png

bench-peer: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/peer.py --json peer.json

bench-memory: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/memory.py --json memory.json

bench-experts: $(VENV)/.installed
	$(BIN)/python benchmarks/experts.py --json experts.json

bench-reading: $(VENV)/.installed
	$(BIN)/python benchmarks/reading.py --json reading.json

bench-scaling: $(VENV)/.installed
	$(BIN)/python benchmarks/scaling.py --json scaling.json

bench-soak: $(VENV)/.installed
	$(BIN)/python benchmarks/soak.py --json soak.json

# DATA is a folder with the gzipped files of sentences that benchmarks/_sentence_sets.py lists.
bench-sentences: $(VENV)/.installed
	$(BIN)/python benchmarks/sentences.py --data $(DATA) --json sentences.json

# DATA is a folder with adult.data.gz and adult.test.gz.
bench-adult: $(VENV)/.installed
	$(BIN)/python benchmarks/adult.py --data $(DATA) --json adult.json

# DATA is the table tox21.csv.gz.
bench-tox21: $(VENV)/.installed-bench
	$(BIN)/python benchmarks/tox21.py --data $(DATA) --json tox21.json

# DATA is a folder with images_background_small1.zip and images_background_small2.zip.
bench-omniglot: $(VENV)/.installed
	$(BIN)/python benchmarks/omniglot.py --data $(DATA) --json omniglot.json

# DATA is the folder of bench-omniglot.
bench-affinity: $(VENV)/.installed
	$(BIN)/python benchmarks/affinity.py --data $(DATA) --seeds 6 --epochs 3 --every 1 --learning-rate 0.1 \
		--json affinity.json

# DATA is a folder with mnist/mnist.npz, cifar10_subset/cifar10_subset.tar.gz, and MR and CR in text/.
bench-transfer: $(VENV)/.installed
	$(BIN)/python benchmarks/transfer.py --data $(DATA) --json transfer.json

# DATA is mnist.npz.
example-multi-mnist: $(VENV)/.installed
	$(BIN)/python examples/multi_mnist.py --data $(DATA) --json multi_mnist.json

docs-tables: $(VENV)/.installed
	$(BIN)/python docs/tables.py

$(VENV)/.installed: setup.cfg pyproject.toml
	$(PYTHON) -c 'import sys; assert (3, 11) <= sys.version_info[:2] <= (3, 13), "Python 3.11 to 3.13 is needed"'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

# PyTorch and torchjd, to compare with, and RDKit; the tests that need them are skipped without.
$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

clean:
	rm -rf $(VENV) demo_output step_cost.json toy_problem.json peer.json memory.json experts.json adult.json \
		reading.json tox21.json omniglot.json multi_mnist.json sentences.json affinity.json transfer.json
