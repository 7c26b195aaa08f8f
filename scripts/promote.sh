#!/usr/bin/env bash
# Brings the release that has passed its checks in one environment live in the next: the same bytes, never built again.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/promote.sh --from ENV --to ENV [--version VERSION] [--break-lock]

Fetches a release from the artifact bucket of --from (or the variable FROM) and deploys it to --to (or TO). Without
--version (or VERSION) it is what is live in FROM. Refused before anything in TO is touched: another order than
release.promotion_path, a release that has not passed its checks in FROM (make postcheck), bytes other than those that
passed. TO's own gates come after that, approvals among them.
FROM is read with the AWS profile FROM_PROFILE, default: the name of FROM; TO is deployed to with AWS_PROFILE.
Progress goes to stderr; stdout gets one line, the ARN of the version that is live.
USAGE
}

main() {
  parse_options "from to version" break-lock "$@"
  local from="${OPTION[from]:-${FROM:-}}" to="${OPTION[to]:-${TO:-}}" version="${OPTION[version]:-${VERSION:-}}"
  require_environment "$from" from
  require_environment "$to" to
  [[ -z "$version" ]] || require_version_name "$version"

  builds="$(mktemp -d)"
  trap 'rm -rf "$builds"' EXIT
  log "promote: $from -> $to"
  version="$(python -m ops.release.promotion --from "$from" --to "$to" --version "$version" "$builds")"
  "$REPOSITORY/scripts/deploy.sh" --env "$to" --version "$version" --builds "$builds" --promoted-from "$from" \
    ${OPTION["break-lock"]:+--break-lock}
}

main "$@"
