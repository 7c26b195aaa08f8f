#!/usr/bin/env bash
# Packages the Glue job: its script as it is, and the modules that it imports as a wheel.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/packaging.sh
source "$REPOSITORY/scripts/lib/packaging.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/package_glue.sh --output FOLDER

Writes FOLDER/glue/etl_main.py and FOLDER/glue/retail_etl-<version>-py3-none-any.whl.
The same sources give the same bytes. The wheel keeps its name: Glue refuses a renamed one.
USAGE
}

# Arguments: folder with a copy of glue-jobs, target folder.
build_wheel() {
  local log_file="$1/build.log"
  # The build backend's own entry point: no network, no isolated environment to install.
  if ! (cd "$1" && python -c 'import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])' "$2") \
    >"$log_file" 2>&1; then
    cat "$log_file" >&2
    die "the wheel of glue-jobs does not build; setuptools' output is above"
  fi
}

main() {
  parse_options output "" "$@"
  local output="${OPTION[output]:-}"
  [[ -n "$output" ]] || usage_error "--output is missing"

  mkdir -p "$output/glue"
  output="$(cd "$output" && pwd)"
  stage="$(mktemp -d)"
  trap 'rm -rf "$stage"' EXIT

  copy_tree "$REPOSITORY/glue-jobs" "$stage"
  build_wheel "$stage" "$output/glue"
  install -m 644 "$REPOSITORY/glue-jobs/src/etl_main.py" "$output/glue/etl_main.py"
  log "package_glue: $(cd "$output/glue" && echo *)"
}

main "$@"
