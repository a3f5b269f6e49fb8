#!/usr/bin/env bash
# Virtual environment + locked packages + compiled modules; does only what is missing or changed.
# usage: build.sh PYTHON VENV runtime|test|bench [packages]   packages: compile nothing
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 venv=$2 want=$3

missing=()
command -v gcc >/dev/null || missing+=(gcc)
if command -v "$python" >/dev/null; then
  "$python" -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
  "$python" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))' \
    || missing+=(python3-dev)
else
  missing+=(python3 python3-venv python3-dev)
fi
if [ ${#missing[@]} -gt 0 ]; then
  echo "build: missing from this system: ${missing[*]}" >&2
  echo "build: install with:  sudo apt-get install -y ${missing[*]}" >&2
  exit 2
fi
"$python" - <<'PY' || exit 2
import sys
if not (3, 11) <= sys.version_info[:2] <= (3, 14):
    sys.exit("build: Python 3.11 to 3.14 is needed, found %d.%d; name another with PYTHON=python3.12" % sys.version_info[:2])
PY

[ -x "$venv/bin/python" ] || { echo "build: creating $venv"; "$python" -m venv "$venv"; }

# A stamp holds the hash of the lock that was installed last.
lock=locks/$want.txt
hash=$(sha256sum "$lock" | cut -c1-16)
stamp=$venv/.kite_hft_$want
if [ "$(cat "$stamp" 2>/dev/null)" != "$hash" ]; then
  echo "build: installing packages from $lock"
  # Wheels only; the official Upstox client (a test's oracle) and what it needs come as source alone.
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    --no-binary upstox-python-sdk,uuid -r "$lock"
  echo "$hash" > "$stamp"
  # The test lock holds all of the runtime lock.
  [ "$want" = runtime ] || sha256sum locks/runtime.txt | cut -c1-16 > "$venv/.kite_hft_runtime"
fi

# The package is used where it lies: a path file, and the console command beside the interpreter.
site=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
echo "$PWD/src" > "$site/kite_hft.pth"
printf '#!%s\nfrom kite_hft.app.cli import main\n\nmain()\n' "$PWD/$venv/bin/python" > "$venv/bin/kite-hft"
chmod +x "$venv/bin/kite-hft"
[ "${4:-}" != packages ] || exit 0

# Compiled modules: rebuilt when a source, the layout, the Python or picows changed.
tag=$("$venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("SOABI"))')
sources=$(cat setup.py src/kite_hft/layout.py ext/*.* locks/runtime.txt | sha256sum | cut -c1-16)
stamp=build/.compiled_$tag
if [ "$(cat "$stamp" 2>/dev/null)" != "$sources" ] || ! ls src/kite_hft/_ring.*"$tag"*.so >/dev/null 2>&1; then
  echo "build: compiling"
  log=build/compile.log
  mkdir -p build
  if ! "$venv/bin/python" setup.py -q build_ext --inplace --parallel 2 >"$log" 2>&1; then
    tail -30 "$log" >&2
    echo "build: compiling failed; the whole log is in $log" >&2
    exit 1
  fi
  echo "$sources" > "$stamp"
fi
