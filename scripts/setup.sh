#!/usr/bin/env bash
# Installs the project's virtual environments from their hash-locked requirements; a second run does nothing.
set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly ROOT
readonly ENVIRONMENTS=(lambda glue localaws dev)
# Large, and needed by one target each: installed by name only.
readonly EXTRA_ENVIRONMENTS=(quality bench)

usage() {
  cat <<'USAGE'
Usage: scripts/setup.sh [--lock | quality | bench]

Makes .venv/{uv,lambda,glue,localaws,dev} from requirements/*.txt.
Each environment carries a stamp of its lock file, so only what changed is installed.

  --lock    resolve requirements/*.in anew into the hashed requirements/*.txt first
  quality   only .venv/quality, which the tests against Great Expectations need
  bench     only .venv/bench, which the job's peers in make bench need
USAGE
}

# Python 3.11 is what Lambda (python3.11) and Glue 5.1 run; other versions would test something else.
find_python() {
  local candidate
  for candidate in python3.11 python3; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
  echo "setup: Python 3.11 is not on the PATH; install it (Debian 12: apt-get install python3.11 python3-venv)" >&2
  return 1
}

# Arguments: environment name. Returns 0 when the environment already matches its lock file.
is_current() {
  local stamp="$ROOT/.venv/$1/requirements.sha256"
  [[ -f "$stamp" ]] && (cd "$ROOT/requirements" && sha256sum --check --status "$stamp")
}

# Arguments: environment name.
write_stamp() {
  (cd "$ROOT/requirements" && sha256sum "$1.txt") >"$ROOT/.venv/$1/requirements.sha256"
}

install_uv() {
  is_current uv && return
  local python
  python="$(find_python)"
  echo "setup: .venv/uv" >&2
  rm -rf "$ROOT/.venv/uv"
  if ! "$python" -m venv "$ROOT/.venv/uv"; then
    echo "setup: python cannot make virtual environments (Debian 12: apt-get install python3-venv)" >&2
    return 1
  fi
  "$ROOT/.venv/uv/bin/pip" install --quiet --require-hashes -r "$ROOT/requirements/uv.txt"
  write_stamp uv
}

lock() {
  local name
  for name in uv "${ENVIRONMENTS[@]}" "${EXTRA_ENVIRONMENTS[@]}"; do
    # sagemaker-pyspark's outdated pins are overridden: see glue-overrides.txt.
    (cd "$ROOT/requirements" && "$ROOT/.venv/uv/bin/uv" pip compile --quiet --python-version 3.11 \
      --generate-hashes --no-emit-index-url --custom-compile-command "make lock" \
      --override glue-overrides.txt "$name.in" -o "$name.txt")
  done
}

# Arguments: environment name.
install_environment() {
  local name="$1" started=$SECONDS uv="$ROOT/.venv/uv/bin/uv"
  is_current "$name" && return
  "$uv" venv --quiet --allow-existing --python "$ROOT/.venv/uv/bin/python" "$ROOT/.venv/$name"
  # Compiled now: where PYTHONDONTWRITEBYTECODE is set, every start of the AWS CLI would compile it anew.
  "$uv" pip sync --quiet --compile-bytecode --python "$ROOT/.venv/$name/bin/python" --require-hashes "$ROOT/requirements/$name.txt"
  write_stamp "$name"
  echo "setup: .venv/$name ($((SECONDS - started)) s)" >&2
}

# Classes of Spark, stored as the JVM maps them: a Glue run starts in 5 s instead of 15 s. Made once a Java and jars.
archive_spark_classes() {
  PYTHONPATH="$ROOT" LOCALAWS_GLUE_PYTHON="$ROOT/.venv/glue/bin/python" \
    "$ROOT/.venv/localaws/bin/python" -m localaws.glue_archive
}

main() {
  case "${1:-}" in
    -h | --help)
      usage
      return
      ;;
    "" | --lock) ;;
    quality | bench)
      install_uv
      install_environment "$1"
      return
      ;;
    *)
      usage >&2
      return 2
      ;;
  esac
  install_uv
  [[ "${1:-}" == --lock ]] && lock
  local name
  for name in "${ENVIRONMENTS[@]}"; do
    install_environment "$name"
  done
  archive_spark_classes
}

main "$@"
