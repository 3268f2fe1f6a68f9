# make run     start the server on :1935              make test    run the tests
# make demo    see a stream flow without an encoder   make check   the tests, and every house rule
# make bench   measure beside nginx-rtmp              make clean   remove what these made
#
# Each sets up what it needs in .venv first; PYTHON=… names the interpreter to make it with.

VENV := .venv
PY := $(VENV)/bin/python

.PHONY: run test check soak-slow-player demo bench clean

run: $(VENV)/.for-run
	@echo 'Publish with OBS:    Settings > Stream > Service: Custom, Server: rtmp://localhost/live, Stream Key: test'
	@echo 'Publish with FFmpeg: ffmpeg -re -i FILE -c copy -f flv rtmp://localhost/live/test'
	@echo 'Play:                ffplay rtmp://localhost/live/test      (or VLC: Media > Open Network Stream)'
	@exec $(VENV)/bin/rtmp-cluster edge --bind :1935

test: $(VENV)/.for-test
	@sh tools/peers.sh ffmpeg
	$(PY) -m pytest

check: $(VENV)/.for-check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	@$(MAKE) test

soak-slow-player: $(VENV)/.for-test
	SLOW_PLAYER_SECONDS=60 $(PY) -m pytest -rP tests/system/test_slow_player.py

demo: $(VENV)/.for-run
	@exec $(PY) tools/demo.py

bench: $(VENV)/.for-run
	@sh tools/peers.sh nginx
	$(PY) -m benchmarks.compare

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find cluster tests benchmarks tools -name __pycache__ -type d -exec rm -rf {} +

# A stamp each, so that a second run installs nothing.
$(VENV)/.for-run: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV)
	@touch $@

$(VENV)/.for-test: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test
	@touch $@ $(VENV)/.for-run

$(VENV)/.for-check: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test,check
	@touch $@ $(VENV)/.for-test $(VENV)/.for-run
