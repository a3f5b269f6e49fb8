#!/usr/bin/env bash
# Installs what the build needs from the system where that is allowed and missing (CI, containers).
# usage: system_packages.sh [COMMAND ...]   further commands, whose packages are named like them
set -euo pipefail
need=()
command -v gcc >/dev/null || need+=(gcc)
command -v make >/dev/null || need+=(make)
python=$(command -v "${PYTHON:-python3}" || true)
if [ -z "$python" ]; then need+=(python3 python3-venv python3-dev); else
  "$python" -c 'import venv, ensurepip' 2>/dev/null || need+=(python3-venv)
  "$python" -c 'import os, sysconfig as s, sys; sys.exit(not os.path.exists(os.path.join(s.get_path("include"), "Python.h")))' || need+=(python3-dev)
fi
for extra in "$@"; do command -v "$extra" >/dev/null || need+=("$extra"); done
[ ${#need[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
  echo "missing: ${need[*]}; install them with: sudo apt-get install -y ${need[*]}" >&2
  exit 2
fi
apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${need[@]}"
