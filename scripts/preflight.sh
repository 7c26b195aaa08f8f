#!/usr/bin/env bash
# The checks before a deploy: is this release fit for this environment, and this environment for it?
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/preflight.sh --env ENV [--version VERSION]

Makes every check of docs/runbooks/promote.md, a line each on stdout, and changes nothing; exit code 1 when any fails.
Without --version (or the variable VERSION) the release is that of the sources, built first. A version is looked for in
ENV's artifact bucket, in that of the environment before (AWS profile FROM_PROFILE, default: its name) and in build/.
USAGE
}

main() {
  parse_options "env version" "" "$@"
  local environment="${OPTION[env]:-${ENV:-}}" version="${OPTION[version]:-${VERSION:-}}"
  require_environment "$environment"
  [[ -n "$version" ]] || version="$("$REPOSITORY/scripts/build.sh")"
  require_version_name "$version"
  python -m ops.release.preflight --env "$environment" --version "$version"
}

main "$@"
