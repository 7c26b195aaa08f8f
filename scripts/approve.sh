#!/usr/bin/env bash
# Signs off one release for an environment, in the name of a role.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/stacks.sh
source "$REPOSITORY/scripts/lib/stacks.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/approve.sh --env ENV --role ROLE --version VERSION

Writes to ENV's artifact bucket that the caller approves exactly these bytes of VERSION, as one of the roles that ENV
asks for (gates.approvals). The release is looked for in ENV's bucket, in that of the environment before (read with the
AWS profile FROM_PROFILE, default: its name) and in build/. Before ENV's first deploy there is no bucket; the stack
that has it is then made first, from the release's own template.
Progress goes to stderr; stdout gets one line, the address of the record.
USAGE
}

# An approval must not be lost for want of a place. Where there is one, it is left as it is.
# Arguments: stack, environment, version, release's folder.
make_sure_of_bucket() {
  local template="$4/cloudformation/artifacts.yaml" request="$work/artifacts.json"
  [[ -z "$(stack_status "$1")" ]] || return 0
  python -m ops.release.stacks --config "$4/config/$2.json" --template "$template" --stack artifacts --release "$3" \
    >"$request"
  deploy_stack "$1" "$template" "$request"
}

main() {
  parse_options "env role version" "" "$@"
  local environment="${OPTION[env]:-${ENV:-}}" role="${OPTION[role]:-${ROLE:-}}"
  local version="${OPTION[version]:-${VERSION:-}}" target prefix root
  require_environment "$environment"
  [[ -n "$role" ]] || usage_error "--role is missing"
  [[ -n "$version" ]] || usage_error "--version is missing: an approval is for one release"
  require_version_name "$version"

  work="$(mktemp -d)"
  trap 'rm -rf "$work"' EXIT
  target="$(python -m ops.release.target --env "$environment")"
  read -r prefix <<<"$target"
  python -m ops.release.approvals --env "$environment" --role "$role"
  root="$(python -m ops.release.lookup --env "$environment" --version "$version" "$work/$version")"
  make_sure_of_bucket "$prefix-artifacts" "$environment" "$version" "$root"
  python -m ops.release.approvals --env "$environment" --role "$role" "$root"
  log "approve: $version for $environment, as $role"
}

main "$@"
