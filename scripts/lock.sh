#!/usr/bin/env bash
# Renews locks/*.txt from pyproject.toml, with hashes, for every platform and Python we declare.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "lock: uv is needed: pip install uv" >&2; exit 2; }
options=(--universal --python-version 3.11 --generate-hashes --quiet --no-header --no-annotate)
uv pip compile "${options[@]}" pyproject.toml --extra build -o locks/runtime.txt
uv pip compile "${options[@]}" pyproject.toml --extra build --extra test -c locks/runtime.txt -o locks/test.txt
uv pip compile "${options[@]}" pyproject.toml --extra build --extra test --extra bench -c locks/test.txt -o locks/bench.txt
