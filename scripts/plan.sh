#!/usr/bin/env bash
# Shows what a deploy would change in an environment; it changes nothing there.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/lock.sh
source "$REPOSITORY/scripts/lib/lock.sh"
# shellcheck source=scripts/lib/phases.sh
source "$REPOSITORY/scripts/lib/phases.sh"
# shellcheck source=scripts/lib/operation.sh
source "$REPOSITORY/scripts/lib/operation.sh"
# shellcheck source=scripts/lib/release.sh
source "$REPOSITORY/scripts/lib/release.sh"
# shellcheck source=scripts/lib/stacks.sh
source "$REPOSITORY/scripts/lib/stacks.sh"

readonly STACKS=(artifacts data application monitoring)
readonly PHASES=(
  check_target   # is this the account and region that the environment is configured for?
  verify_release # build the release, or fetch it, and compare every artifact with the manifest
  plan_stacks    # a change set a stack: made, described and deleted again, never executed
)

usage() {
  cat <<'USAGE'
Usage: scripts/plan.sh --env ENV [--version VERSION]

Shows on stdout, on one page, what a deploy would change in ENV against what is live: resources and their properties
(from change sets that are deleted again), artifacts, configuration key by key, and the lines of the state machine and
the templates. Without --version (or the variable VERSION) it is about the release of the sources, built first.
Nothing changes in the account. What was changed by hand there is not shown here: see make drift.
The last line is the verdict, and so is the exit code: 0 no changes, 2 changes, 1 it cannot be told.
USAGE
}

# ---- phases ----------------------------------------------------------------------------------------------------------

plan_stacks() {
  local stack pids=()
  mkdir "$WORK/stacks"
  for stack in "${STACKS[@]}"; do
    stack_request "$stack" >"$WORK/$stack.json"
    plan_stack "$PREFIX-$stack" "$(stack_template "$stack")" "$WORK/$stack.json" "$WORK/stacks/$stack.json" &
    pids+=($!)
  done
  wait_all "${pids[@]}" || die "not every stack's changes could be told; see above"
}

main() {
  parse_options "env version" "" "$@"
  ENVIRONMENT="${OPTION[env]:-${ENV:-}}" VERSION="${OPTION[version]:-${VERSION:-}}"
  require_environment "$ENVIRONMENT"
  [[ -z "$VERSION" ]] || require_version_name "$VERSION"

  WORK="$(mktemp -d)"
  trap 'rm -rf "$WORK"' EXIT
  run_phases "${PHASES[@]}"
  python -m ops.release.plan --env "$ENVIRONMENT" --stacks "$WORK/stacks" "$RELEASE_FOLDER"
}

main "$@"
