#!/usr/bin/env bash
# Asks a public service for known vulnerabilities of every package that is locked.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

# Vulnerabilities that do not reach us: id, and beside it why.
readonly ACCEPTED=()

usage() {
  cat <<'USAGE'
Usage: scripts/audit.sh

Runs pip-audit over requirements/*.txt: what a release carries, and what builds, tests and deploys it. It asks OSV, the
open database of vulnerabilities, or what PIP_AUDIT_OSV_URL names. Exit code 1 when a package has a known
vulnerability, and just so when it could not be asked about: no answer is no pass.
USAGE
}

# Arguments: requirements file.
audit() {
  local id ignored=()
  for id in "${ACCEPTED[@]}"; do
    ignored+=(--ignore-vuln "$id")
  done
  log "audit: ${1#"$REPOSITORY/"}"
  # Without --strict, packages that it could not ask about would pass.
  pip-audit --requirement "$1" --require-hashes --disable-pip --vulnerability-service osv --strict \
    --progress-spinner off "${ignored[@]}"
}

main() {
  parse_options "" "" "$@"
  local file failed=()
  for file in "$REPOSITORY"/requirements/*.txt; do
    [[ "$file" != */glue-overrides.txt ]] || continue
    audit "$file" || failed+=("${file##*/}")
  done
  [[ ${#failed[@]} -eq 0 ]] || die "not passed: ${failed[*]}; update the package named above (make lock), or put its id into ACCEPTED"
}

main "$@"
