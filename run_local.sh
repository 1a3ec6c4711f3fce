#!/usr/bin/env bash
# Runs the job on the embedded default, a small real model and eight photographs, in a virtual environment
# of its own; `test` runs the tests instead.
# usage: ./run_local.sh [OPTIONS OF ig-audit run]
#        ./run_local.sh test [ARGUMENTS OF pytest]
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv=$root/.venv

find_python() { # prints the first interpreter of a supported version
  local candidate
  for candidate in python3 python3.13 python3.12 python3.11 python3.10; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      printf '%s\n' "$candidate"
      return
    fi
  done
  echo "run_local.sh: no Python from 3.10 to 3.13 on PATH; python3 is $(python3 --version 2>&1 || true)" >&2
  exit 2
}

install() { # EXTRAS: skipped where the last installation of the same extras is still current
  local stamp=$venv/installed-$1 current python
  current=$({ cat "$root/setup.py" "$root/constraints.txt" && echo "$root"; } | cksum)
  if [[ -f $stamp && $(<"$stamp") == "$current" ]]; then
    return
  fi
  if ! "$venv/bin/python" -c '' 2>/dev/null; then
    python=$(find_python)
    "$python" -m venv --clear "$venv"
  fi
  echo "Installing into $venv: about two minutes and 2.5 GB the first time" >&2
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    -c "$root/constraints.txt" -e "${root}[$1]"
  echo "$current" >"$stamp"
}

if [[ ${1:-} == test ]]; then
  install samples,dev
  cd "$root"
  if (($# > 1)); then
    exec "$venv/bin/python" -m pytest "${@:2}"
  fi
  # A process for each file, two at a time: TensorFlow never frees a function once traced, and one process for all
  # ran out of memory. Those with slow tests come first, or one of them would end alone. tests/external has
  # environments of its own: .ci/external.
  # shellcheck disable=SC2016
  { grep -rlE --include='test_*.py' --exclude-dir=external 'mark\.(slow|distributed)' tests | sort
    find tests -path tests/external -prune -o -name 'test_*.py' -print | sort; } | awk '!seen[$0]++' | xargs -P 2 -n 1 bash -c \
    'output=$("$0" -m pytest --quiet "$1" 2>&1); status=$?; printf "%s\n" "$output"; exit "$status"' "$venv/bin/python" ||
    exit 1
  exit
fi

install samples
"$venv/bin/ig-audit" samples --output "$root/runs/samples" >/dev/null
exec "$venv/bin/ig-audit" run --config "$root/runs/samples/config.yaml" --output "$root/runs/local" --resume "$@"
