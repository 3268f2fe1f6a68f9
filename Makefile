# make run     start the server on :1935              make test    run the tests
# make demo    see a stream flow without an encoder   make check   the tests, and every house rule
# make bench   measure everything (SCENARIO=… one)   make clean   remove what these made
# make system    whole nodes and hosts, one test at a time: how soon, how smoothly (4 minutes)
# make interop   strangers' software against the server; make interop-table also writes docs/interop.md
# make browsers  the pages, hls.js and mpegts.js in Chromium, the player's page in WebKitGTK too; screenshots in
#                build/browser-shots (10 minutes); browsers-short: a part of it (4 minutes)
# make wheel        the package, in dist/; make image: the image of deploy/docker, with docker, podman or buildah
# make compiled     the wheel with the modules that every message passes made extensions, in dist/compiled
# make test-compiled   that wheel, by the tests of what it has compiled: 3 minutes
# make wheelhouse   what a host needs to be installed without a network (deploy/README.md)
# make events       10,000 events through a receiver that fails, as what delivers them is killed (5 minutes)
# make coverage     cluster/core by its own tests: fails below every branch
# make fuzz         every decoder and the session, FUZZ_SECONDS long (600)
# make strangers    attacks on the ports, and what each costs; strangers-short: a few seconds of each
# make documents    every command of the documents, typed on fresh machines (DOCUMENTS='-k README' one)
# make soak-strangers   random bytes on a router's ports for STRANGER_SECONDS (3600), a core kept
# make soak         half load for SOAK_SECONDS (1800): does memory stay?
# make deploy-test  install, upgrade and remove clusters as deploy/ does: minutes, and as root
#
# Each sets up what it needs in .venv first; PYTHON=… names the interpreter to make it with.

VENV := .venv
PY := $(VENV)/bin/python
# Tests that only compute run one on each core. Most others wait, so three files at a time, those that take
# longest first. What measures time runs by itself: make system.
PURE := tests/core tests/fuzz tests/benchmarks
LONG := tests/load tests/system tests/client
OTHERS := $(filter-out $(PURE) $(LONG),$(patsubst %/,%,$(wildcard tests/*/))) tests/test_*.py
BROWSER_PEERS := ffmpeg chromium webkit browser-players
INTEROP_PEERS := ffmpeg nginx gstreamer rtmpdump mpv obs vlc nghttp2 node-media-server fail2ban

.PHONY: run test system check rules interop interop-table browsers browsers-short coverage fuzz soak-slow-player demo bench soak \
	wheel compiled test-compiled image wheelhouse strangers strangers-short soak-strangers documents \
	deploy-test events clean

run: $(VENV)/.for-run
	@echo 'Publish with OBS:    Settings > Stream > Service: Custom, Server: rtmp://localhost/live, Stream Key: test'
	@echo 'Publish with FFmpeg: ffmpeg -re -i FILE -c copy -f flv rtmp://localhost/live/test'
	@echo 'Watch in a browser:  http://localhost:8080/live/test'
	@echo 'Play:                ffplay rtmp://localhost/live/test      (or VLC: Media > Open Network Stream)'
	@exec $(VENV)/bin/rtmp-cluster edge --bind :1935 --http :8080

test: $(VENV)/.for-test
	@sh tools/peers.sh ffmpeg
	$(PY) -m pytest --numprocesses=2 --dist=worksteal $(PURE); code=$$?; \
	$(PY) -m pytest --numprocesses=3 --dist=loadfile --no-loadscope-reorder \
	    -m 'not alone and not deploy and not interop and not strangers and not documents and not browser' \
	    $(LONG) $(OTHERS) && exit $$code

system: $(VENV)/.for-test
	@sh tools/peers.sh ffmpeg ip
	$(PY) -m pytest -m alone $(LONG) $(OTHERS)

check: rules test

rules: $(VENV)/.for-check
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

coverage: $(VENV)/.for-test
	$(PY) -m pytest tests/core -q --cov=cluster/core --cov-branch --cov-fail-under=100

FUZZ_SECONDS ?= 600

fuzz: $(VENV)/.for-test
	$(PY) tests/fuzz --seconds $(FUZZ_SECONDS)

interop: $(VENV)/.for-interop
	@sh tools/peers.sh $(INTEROP_PEERS)
	$(PY) -m pytest tests/interop tests/api -m interop

interop-table: $(VENV)/.for-interop
	@sh tools/peers.sh $(INTEROP_PEERS)
	INTEROP_TABLE=docs/interop.md $(PY) -m pytest tests/interop -m interop

browsers: $(VENV)/.for-browsers
	@sh tools/peers.sh $(BROWSER_PEERS)
	$(PY) -m pytest tests/browser -m browser -o faulthandler_timeout=600

browsers-short: $(VENV)/.for-browsers
	@sh tools/peers.sh $(BROWSER_PEERS)
	BROWSER_SECONDS=20 $(PY) -m pytest tests/browser -m 'browser and not in_full' -o faulthandler_timeout=600

long-outage: $(VENV)/.for-test
	@sh tools/peers.sh ip
	RTMP_CLUSTER_LONG_TESTS=1 $(PY) -m pytest tests/hosts -k 'link or only_router'

events: $(VENV)/.for-test
	EVENTS_FULL=1 $(PY) -m pytest -rP tests/system/test_events.py -o faulthandler_timeout=900

soak-slow-player: $(VENV)/.for-test
	SLOW_PLAYER_SECONDS=60 $(PY) -m pytest -rP tests/system/test_slow_player.py

demo: $(VENV)/.for-run
	@exec $(PY) tools/demo.py

bench: $(VENV)/.for-run
	@sh tools/peers.sh nginx node-media-server
	$(PY) -m benchmarks $(if $(SCENARIO),--scenario $(SCENARIO)) $(BENCH)

SOAK_SECONDS ?= 1800

soak: $(VENV)/.for-run
	$(PY) -m benchmarks --scenario soak --rounds 1 --soak-seconds $(SOAK_SECONDS) $(BENCH)

strangers: $(VENV)/.for-test
	$(PY) -m tests.strangers $(STRANGERS)

strangers-short: $(VENV)/.for-test
	$(PY) -m pytest tests/strangers -m strangers -rA --show-capture=stdout -q $(STRANGERS)

STRANGER_SECONDS ?= 3600

soak-strangers: $(VENV)/.for-test
	$(PY) -m tests.strangers.soak --seconds $(STRANGER_SECONDS)

documents: $(VENV)/.for-test
	@sh tools/peers.sh machine
	$(PY) -m pytest tests/documents -m documents -s -o faulthandler_timeout=600 $(DOCUMENTS)

wheel: $(VENV)/.for-run
	rm -rf build dist/*.whl
	$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	@ls dist/*.whl

compiled: $(VENV)/.for-run
	@sh tools/peers.sh compiler
	rm -rf build dist/compiled
	RTMP_CLUSTER_COMPILED=1 $(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps \
	    --wheel-dir dist/compiled .
	@ls dist/compiled/*.whl

# Not the tree is to be tested: nothing of it is on the search path of these interpreters, or of their children's.
# A hang in compiled code answers to nobody but the clock.
COMPILED_PY := PYTHONSAFEPATH=1 .venv-compiled/bin/python
COMPILED_SECONDS ?= 600

test-compiled: compiled
	$(PY) -m venv --clear .venv-compiled
	.venv-compiled/bin/pip install --quiet --disable-pip-version-check "$$(echo dist/compiled/*.whl)[test]"
	$(COMPILED_PY) tools/check_compiled.py
	.venv-compiled/bin/rtmp-cluster --version | grep compiled
	timeout --kill-after=10 $(COMPILED_SECONDS) env $(COMPILED_PY) -m pytest --numprocesses=3 --dist=loadfile \
	    --no-loadscope-reorder -m 'not plain and not alone and not deploy and not interop' \
	    tests/edge tests/bus tests/net tests/core

IMAGE ?= rtmp-cluster

image:
	@sh tools/peers.sh image
	sh tools/image.sh $(IMAGE) $(IMAGE_OPTIONS)

wheelhouse: $(VENV)/.for-run
	rm -rf build dist/wheelhouse
	$(PY) -m pip wheel --quiet --disable-pip-version-check --wheel-dir dist/wheelhouse .

deploy-test: $(VENV)/.for-deploy
	@sh tools/peers.sh ffmpeg promtool units compose ssh-hosts machine image
	$(PY) -m pytest tests/deploy -m 'deploy or not deploy' -o faulthandler_timeout=600 -o timeout=3600

clean:
	rm -rf $(VENV) .venv-compiled build dist *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find cluster tests benchmarks tools -name __pycache__ -type d -exec rm -rf {} +

# A stamp each, so that a second run installs nothing.
$(VENV)/.for-run: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV)
	@touch $@

$(VENV)/.for-test: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test
	@touch $@ $(VENV)/.for-run

$(VENV)/.for-interop: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test,interop
	@touch $@ $(VENV)/.for-test $(VENV)/.for-run

$(VENV)/.for-browsers: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test,browser
	@touch $@ $(VENV)/.for-test $(VENV)/.for-run

$(VENV)/.for-check: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test,check
	@touch $@ $(VENV)/.for-test $(VENV)/.for-run

$(VENV)/.for-deploy: pyproject.toml tools/venv.sh
	@sh tools/venv.sh $(VENV) test,deploy
	@touch $@ $(VENV)/.for-test $(VENV)/.for-run
