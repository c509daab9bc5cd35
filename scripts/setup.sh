#!/bin/sh
# Make .venv hold this project and what it needs; a moment's work when it does already.
#
#   scripts/setup.sh [EXTRA]     EXTRA: an extra of setup.cfg, such as dev
#
# Needs Python 3.11 and the internet.  Where Debian has packed python3 without venv, that is installed, as root or with sudo.
set -eu
cd "$(dirname "$0")/.."
extra=${1:-}

fail() {
    echo "setup: $*" >&2
    exit 1
}

wanted() {
    cat setup.cfg pyproject.toml
}

up_to_date() {
    [ -x .venv/bin/python ] && wanted | cmp -s - ".venv/.installed-$extra"
}

find_python() {
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            return
        fi
    done
    fail "Python 3.11 or newer is needed"
}

install_venv() {
    package="$python-venv"
    command -v apt-get >/dev/null || fail "$python -m venv does not work here; install Python's venv and ensurepip"
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null; then
        as_root=sudo
    else
        fail "$python -m venv does not work here; as root: apt-get install $package"
    fi
    echo "setup: installing $package" >&2
    $as_root apt-get update -qq >/dev/null
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
}

make_venv() {
    find_python
    "$python" -c 'import ensurepip, venv' 2>/dev/null || install_venv
    "$python" -m venv --clear .venv
}

up_to_date && exit
# pip is what venv installs last: without it, venv was interrupted.
{ [ -x .venv/bin/python ] && [ -x .venv/bin/pip ]; } || make_venv
echo "setup: installing into .venv" >&2
.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable ".${extra:+[$extra]}" >&2
wanted >".venv/.installed-$extra"
# Whatever the extra, the project itself is there now.
wanted >.venv/.installed-
