#!/bin/sh
# Make a virtual environment with this project in it, or bring it up to date.
#   tools/venv.sh DIRECTORY [EXTRAS]      such as: tools/venv.sh .venv test,check
# PYTHON names the interpreter; without it the first of the usual names that is 3.11 or newer is taken.
set -eu

venv=$1
extras=${2:+[$2]}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11 python}; do
        if new_enough "$name"; then
            echo "$name"
            return
        fi
    done
    echo "Python 3.11 or newer is needed and was not found (tried: ${PYTHON:-python3 and its versions});" \
        "install it, or name it: make PYTHON=/path/to/python3" >&2
    exit 1
}

if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$python has no venv module; install it (Debian, Ubuntu: apt-get install python3-venv)" >&2
        exit 1
    fi
    "$python" -m venv --clear "$venv"
fi

"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".$extras"
