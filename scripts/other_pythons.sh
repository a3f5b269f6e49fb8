#!/usr/bin/env bash
# Builds and runs the quick tests on every other declared Python that this machine has.
# Each gets an environment of its own below build/; the tree's own build is left alone.
# usage: other_pythons.sh [install|test]   one half of it; both without a word. The second needs .venv.
set -euo pipefail
cd "$(dirname "$0")/.."
half=${1:-both}
main_python=.venv/bin/python
[ -x "$main_python" ] || main_python=${PYTHON:-python3}
main=$("$main_python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tested=()

# The environment with its packages: one core, and the network.
install() {
  mkdir -p "$tree"
  # A copy of the tracked sources: extension modules of several Pythons never mix.
  git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$tree"
  (cd "$tree" && bash scripts/build.sh "$python" .venv test packages)
}

# Compile, then test.
try() {
  # What Cython makes is the same for every Python: taken from the tree's own build, if that is of these sources.
  local stamp
  stamp=$(find build -maxdepth 1 -name '.compiled_*' | head -1)
  if [ -n "$stamp" ] && [ -z "$(find setup.py src/kite_hft/layout.py ext locks/runtime.txt -newer "$stamp")" ]; then
    mkdir -p "$tree/build"
    cp -R build/gen "$tree/build/"
    cp -R build/cython "$tree/build/"  # after the other: it is older than nothing that it was made of
  fi
  (
    cd "$tree"
    # It is this Python's interface that is tried, not the compiler's last touch: a quick build will do.
    KHFT_QUICK=1 bash scripts/build.sh "$python" .venv test
    # What is compiled, what starts processes and what a face is made of depends on the Python that runs it;
    # the rest is plain logic, for which it has to import, and to trade for some seconds.
    if ! .venv/bin/python -m pytest tests/unit/{ext,memory,kernels,stages,strategies,net,configuring} tests/unit/*.py \
        -n 2 -m "not data" > tests.log; then
      cat tests.log
      exit 1
    fi
    .venv/bin/python - <<'PY'
import importlib, pkgutil, kite_hft
for module in pkgutil.walk_packages(kite_hft.__path__, "kite_hft."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
PY
    if ! XDG_STATE_HOME=$PWD/state .venv/bin/python -m kite_hft.engine --plain --config config/demo.yaml --duration 3 \
        > run.log 2>&1; then
      cat run.log
      exit 1
    fi
    tail -1 tests.log
  )
}

for version in 3.11 3.12 3.13 3.14; do
  [ "$version" = "$main" ] && continue
  python=
  for candidate in "python$version" "$HOME"/.pyenv/versions/"$version".*/bin/python; do
    if "$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$version')" 2>/dev/null; then
      python=$candidate
      break
    fi
  done
  [ -n "$python" ] || continue
  tree=build/python$version
  echo "other pythons: $version"
  [ "$half" = test ] || install
  [ "$half" = install ] || try
  tested+=("$version")
done
if [ "$half" != install ]; then echo "other pythons: tested ${tested[*]:-none found}"; fi
