#!/usr/bin/env bash
# Puts a built release into its environment's artifact bucket, once.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/upload_artifacts.sh --env ENV --version VERSION [--builds FOLDER]

Uploads build/VERSION/ (or FOLDER/VERSION/) to releases/VERSION/ of the artifact bucket; the manifest goes last. What
is there already with the same bytes is skipped; other bytes under the same version are refused before anything is
written.
USAGE
}

main() {
  parse_options "env version builds" "" "$@"
  local environment="${OPTION[env]:-${ENV:-}}" version="${OPTION[version]:-${VERSION:-}}"
  require_environment "$environment"
  require_version_name "$version"

  python -m ops.release.releases upload --env "$environment" --version "$version" \
    "${OPTION[builds]:-$REPOSITORY/build}/$version"
}

main "$@"
