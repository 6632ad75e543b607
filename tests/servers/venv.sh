#!/bin/sh
# Make .venv with the Python named. Where Debian has split venv off, install it, or print the one line that does.
set -eu
python=${1:-}
[ -n "$python" ] || { echo "Python 3.11 or later is needed, and none was found." >&2; exit 1; }
"$python" - <<'EOF' || exit 1
import sys
if sys.version_info < (3, 11):
    sys.exit(f"Python 3.11 or later is needed; {sys.executable} is {sys.version.split()[0]}. Name another: make PYTHON=...")
EOF
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  package="$("$python" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')"
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "installing $package ..."
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
  else
    echo "This Python has no venv. Install it, then try again:  sudo apt-get install $package" >&2
    exit 1
  fi
fi
[ -x .venv/bin/pip ] || "$python" -m venv .venv
