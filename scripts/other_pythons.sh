#!/usr/bin/env bash
# Builds and runs the quick tests on every other declared Python that this machine has.
# Each gets an environment of its own below build/; the tree's own build is left alone.
set -euo pipefail
cd "$(dirname "$0")/.."
main=$(.venv/bin/python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
tested=()
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
  mkdir -p "$tree"
  # A copy of the tracked sources: extension modules of several Pythons never mix.
  git ls-files -z --cached --others --exclude-standard | tar --null -T - -cf - | tar -xf - -C "$tree"
  echo "other pythons: $version"
  (
    cd "$tree"
    bash scripts/build.sh "$python" .venv test
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
  tested+=("$version")
done
echo "other pythons: tested ${tested[*]:-none found}"
