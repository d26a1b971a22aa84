#!/bin/sh
# Prints the Python interpreter to make the environment with, and says on standard error what it chose and why.
# With an argument, checks that interpreter instead of looking for one.
set -eu

stop() {
    printf '%s\n' "$@" >&2
    exit 1
}

version() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

machine="$(uname -s) $(uname -m)"
[ "$machine" = "Linux x86_64" ] || stop \
    "Expected Linux on x86-64, which the lock is for; found $machine." \
    "Use a container or a virtual machine, such as: docker run --platform linux/amd64 -it debian:13"

glibc=$(getconf GNU_LIBC_VERSION 2>/dev/null | cut -d' ' -f2 || true)
minor=${glibc#2.}
minor=${minor%%.*}
case "$minor" in
    '' | *[!0-9]*) stop "Expected glibc 2.28 or later, found another C library; use a Debian, Ubuntu, Fedora or RHEL system." ;;
esac
if [ "$minor" -ge 39 ]; then
    supported="3.13 3.12 3.11 3.10"
    why="the newest supported one found"
elif [ "$minor" -ge 28 ]; then
    supported="3.11 3.10"
    why="the newest found that glibc $glibc has wheels for; Python 3.12 and 3.13 need glibc 2.39"
else
    stop "Expected glibc 2.28 or later, found $glibc; use Debian 10, Ubuntu 20.04, RHEL 8 or later."
fi

python=""
if [ -n "${1:-}" ]; then
    found=$(version "$1") || stop "PYTHON=$1 does not run; give the path of a Python interpreter."
    for candidate in $supported; do
        if [ "$candidate" = "$found" ]; then python=$1; fi
    done
    [ -n "$python" ] || stop \
        "PYTHON=$1 is Python $found; with glibc $glibc the dependencies have wheels for Python $supported." \
        "Install one of them, or use a system with glibc 2.39 or later (Debian 13, Ubuntu 24.04) for Python 3.12 and 3.13."
    why="as PYTHON says"
else
    for found in $supported; do
        for candidate in "python$found" python3; do
            if [ -z "$python" ] && [ "$(version "$candidate")" = "$found" ]; then
                python=$candidate
                chosen=$found
            fi
        done
    done
    [ -n "$python" ] || stop \
        "No supported Python found: expected one of python$(echo "$supported" | sed 's/ /, python/g'), found python3 $(version python3 || echo "missing")." \
        "With glibc $glibc the dependencies have wheels for these versions; install one, or give its path: make ... PYTHON=PATH"
    found=$chosen
fi

# Packages for the system to install: as Debian and Ubuntu name them, and as Fedora and RHEL do.
debian=""
fedora=""
"$python" -c 'import ensurepip, venv' 2>/dev/null || { debian="$debian python$found-venv"; fedora="$fedora python3-pip"; }
# pyfarmhash, of TensorFlow Data Validation's dependencies, has no wheels and is compiled.
command -v g++ >/dev/null || { debian="$debian g++"; fedora="$fedora gcc-c++"; }
headers=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
[ -f "$headers/Python.h" ] || { debian="$debian python$found-dev"; fedora="$fedora python$found-devel"; }
if [ -n "$debian" ]; then
    if command -v dnf >/dev/null; then install="dnf install -y$fedora"; else install="apt-get install -y$debian"; fi
    stop "Python $found needs more to make the environment; as root: $install"
fi

case "$found" in
    3.10 | 3.11) line="line A, TensorFlow 2.16" ;;
    *) line="line B, TensorFlow 2.21" ;;
esac
echo "Python $found ($python), $why: $line" >&2
echo "$python"
