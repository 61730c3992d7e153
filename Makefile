# Every target first sets up .venv, unless that is done. `make help` lists the targets.

# Tested on Python 3.11 (TensorFlow, and the versions in constraints.txt).
PYTHON ?= $(or $(shell command -v python3.11),python3)

BIN := .venv/bin
INSTALLED := .venv/.installed
# Two processes with one thread each: with more, they wait for each other.
PYTEST := OMP_NUM_THREADS=1 TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 \
          $(BIN)/python -m pytest -n 2 --dist loadscope --durations 20
# The files with tests that depend on the backend of Keras: the others need not be imported.
ON_EACH_BACKEND := -m keras $$(grep -rl --include='test_*.py' 'mark\.keras' tests)
# How long each test took is written there: `make test` shows the slowest twenty.
DURATIONS := --junitxml=_build/durations
QUICK := GENMODELS_BUDGET=quick GENMODELS_HTML=_build/quick/_build/html
# The 5,000 digits suffice to test chapters; `make book` executes them with all there are.
FEW_DIGITS := GENMODELS_DATA=bundled

# Chapters run in their own folders, where a relative path would be another one.
ifneq ($(GENMODELS_DATA),)
ifeq ($(filter bundled /% ~%,$(firstword $(GENMODELS_DATA))),)
override GENMODELS_DATA := $(CURDIR)/$(GENMODELS_DATA)
endif
export GENMODELS_DATA
endif

.NOTPARALLEL:
.PHONY: help book pdf test check quick-book chapters-tensorflow test-tensorflow test-torch \
        test-jax lab student drift weights bench lint clean

help:
	@echo "make book        build the book; the last line says where to open it"
	@echo "make pdf         write the built book to _build/book.pdf (SOLUTIONS=no leaves them out)"
	@echo "make test        run the unit tests, the notebooks and the tests of the pages"
	@echo "make check CHAPTER=elbo    run one chapter: its notebook, its exercises and its page"
	@echo "make lab         open the chapters in JupyterLab"
	@echo "make student     write the chapters without solutions to _build/student, and a zip of them"
	@echo "make drift LAST=FOLDER    list the printed figures that moved since another _build/executed"
	@echo "make weights     train the weights in code/genmodels/models/weights (full digits)"
	@echo "make bench       time training and the lecture's programs (full digits)"
	@echo "make lint        check the style of the code, and the types of its mathematics"
	@echo "make clean       delete what was built (rm -r .venv deletes the environment)"

$(INSTALLED): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Python 3.11 or newer is needed (tested: 3.11), '$(PYTHON)' is not."; \
	    echo "Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip --disable-pip-version-check install -r requirements.txt -c constraints.txt
	$(BIN)/python -m pip --disable-pip-version-check install --no-deps --editable .
	@touch $@

book: $(INSTALLED)
	@$(BIN)/python book/build.py

pdf: $(INSTALLED)
	@$(BIN)/python book/pdf.py --solutions $(or $(SOLUTIONS),yes)

# All parts run, also after a failure in one of them; any failure is a failure of `make test`.
test: $(INSTALLED)
	@$(MAKE) --no-print-directory --keep-going quick-book chapters-tensorflow \
	    test-tensorflow test-torch test-jax

# Every chapter is executed here, with Keras on PyTorch; those with Keras once more below.
quick-book: $(INSTALLED)
	@$(QUICK) $(FEW_DIGITS) KERAS_BACKEND=torch $(BIN)/python book/build.py --output _build/quick

# One chapter: its notebook, its exercises and its page. Fast, for whoever changes it.
check: $(INSTALLED)
	@$(BIN)/python book/check.py $(CHAPTER)

chapters-tensorflow: $(INSTALLED)
	@chapters=$$($(BIN)/python book/dependencies.py keras) && \
	    $(QUICK) $(FEW_DIGITS) KERAS_BACKEND=tensorflow \
	    $(BIN)/python book/execution.py _build/tensorflow $$chapters

test-tensorflow: $(INSTALLED)
	$(QUICK) KERAS_BACKEND=tensorflow $(PYTEST) $(DURATIONS)-tensorflow.xml tests

test-torch: $(INSTALLED)
	$(QUICK) KERAS_BACKEND=torch $(PYTEST) $(DURATIONS)-torch.xml $(ON_EACH_BACKEND)

# XLA, too, with one thread in each process. At level 1 it compiles faster, and what it compiles is
# run a few times only. (At level 0 a convolution takes seven times as long.)
XLA := --xla_cpu_multi_thread_eigen=false --xla_backend_optimization_level=1
test-jax: $(INSTALLED)
	$(QUICK) KERAS_BACKEND=jax XLA_FLAGS="$(XLA)" \
	    $(PYTEST) $(DURATIONS)-jax.xml $(ON_EACH_BACKEND)

lab: $(INSTALLED)
	env -u MPLBACKEND $(BIN)/jupyter lab --ServerApp.root_dir=chapters

student: $(INSTALLED)
	@$(BIN)/python book/student.py

# Which printed figures have moved: the executed notebooks of the last release against the last build.
drift: $(INSTALLED)
	@$(BIN)/python book/drift.py $(or $(LAST),$(error make drift LAST=folder of executed notebooks)) \
	    _build/executed

weights: $(INSTALLED)
	$(BIN)/python scripts/make_weights.py

bench: $(INSTALLED)
	$(BIN)/python benchmarks/epoch_time.py
	$(BIN)/python benchmarks/time_to_quality.py

lint: $(INSTALLED)
	$(BIN)/ruff check
	$(BIN)/pyright --pythonpath $(BIN)/python

clean:
	rm -rf _build .pytest_cache .ruff_cache code/*.egg-info
	rm -f $(addprefix chapters/appendix/,api.md exercises.md identities.md)
	find code tests scripts book chapters benchmarks -name __pycache__ -prune -exec rm -rf {} +
	find chapters -name .ipynb_checkpoints -prune -exec rm -rf {} +
