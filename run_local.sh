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

slow_tests() { # prints the files with slow tests
  grep -rlE --include='test_*.py' --exclude-dir=external 'mark\.(slow|distributed)' tests | sort
}

other_tests() { # prints all other files, a dozenth of them in each line
  find tests -path tests/external -prune -o -name 'test_*.py' -print | sort | grep -vxFf <(slow_tests) |
    awk '{ batch[NR % 12] = batch[NR % 12] " " $0 } END { for (each in batch) print batch[each] }'
}

if [[ ${1:-} == test ]]; then
  install samples,dev
  cd "$root"
  if (($# > 1)); then
    exec "$venv/bin/python" -m pytest "${@:2}"
  fi
  # A process for each file with slow tests, first, or one of them would end alone, then one for a dozenth of the others,
  # as importing TensorFlow and Beam takes longer than most of them. One more at a time than there are processors, as many
  # wait for servers. Not one for all: TensorFlow never frees a function once traced, and ran out of memory.
  # tests/external has environments of its own: .ci/external.
  # shellcheck disable=SC2016
  { slow_tests && other_tests; } |
    xargs -d '\n' -P $(($(nproc) + 1)) -n 1 bash -c \
      'output=$("$0" -m pytest --quiet $1 2>&1); status=$?; printf "%s\n" "$output"; exit "$status"' "$venv/bin/python" ||
    exit 1
  exit
fi

install samples
"$venv/bin/ig-audit" samples --output "$root/runs/samples" >/dev/null
exec "$venv/bin/ig-audit" run --config "$root/runs/samples/config.yaml" --output "$root/runs/local" --resume "$@"
