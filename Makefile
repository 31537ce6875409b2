# make study: from nothing to a report.   make test: all checks and tests.   make docs: the manual.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: study test docs clean

study: $(VENV)/.installed
	$(BIN)/lab study run studies/digits.yaml
	@echo "report: runs/digits/report.html"

test: $(VENV)/.installed-test
	scripts/check

# Torch first and pinned, so that no other requirement picks another build of it. Not quiet: it takes a minute or two.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

docs: $(VENV)/.installed-test
	$(BIN)/mkdocs build --quiet
	@echo "manual: site/index.html"

clean:
	rm -rf $(VENV) runs site
