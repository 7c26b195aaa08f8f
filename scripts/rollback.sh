#!/usr/bin/env bash
# Brings an environment back: to a release that was live before, by alias.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/lock.sh
source "$REPOSITORY/scripts/lib/lock.sh"
# shellcheck source=scripts/lib/phases.sh
source "$REPOSITORY/scripts/lib/phases.sh"
# shellcheck source=scripts/lib/operation.sh
source "$REPOSITORY/scripts/lib/operation.sh"

readonly PHASES=(
  check_target    # is this the account and region that the environment is configured for?
  choose_release  # the previous one or --to; refused unless all that it calls is there
  take_lock       # one deploy or rollback at a time; from here on there is a record
  switch_live     # both aliases; files that arrive from here on are that release's
  smoke_test      # what is live now, with data of its own
  record_rollback # who, what, when, how long
)

declare -rA REMEDIES=(
  [check_target]="choose credentials of the right account (AWS_PROFILE), or correct config/<env>/settings.yaml"
  [choose_release]="choose one of the releases named above (TO=); make releases lists them"
  [take_lock]="wait for the command named above, or break its lock: BREAK_LOCK=1, or --break-lock"
  [switch_live]="run the same command again: every phase can be repeated"
  [smoke_test]="the switch was made and stays: see the run named above; go further back (TO=)"
  [record_rollback]="the switch was made and holds; only its record could not be written"
)

usage() {
  cat <<'USAGE'
Usage: scripts/rollback.sh --env ENV [--to VERSION] [--break-lock]

Points live in ENV at the previous release, or at any kept one (--to, or the variable TO): seconds, since only two
aliases move; `make releases` lists them. A release is refused unless all that it calls is there.
It says what it will do, does it, and runs the smoke test against what is live then. Where that fails, live stays at
the target: what was left had a reason to be left. Progress goes to stderr; stdout gets one line, the ARN of the version
that is live.
USAGE
}

# ---- phases ----------------------------------------------------------------------------------------------------------

# Globals: VERSION, GREEN, TRIGGER, MANIFEST_SHA256 (set)
choose_release() {
  local target
  target="$(python -m ops.release.rollback --env "$ENVIRONMENT" --to "$TO")"
  { read -r VERSION && read -r GREEN && read -r TRIGGER && read -r MANIFEST_SHA256; } <<<"$target"
  log "  release        ${FROM:-nothing}  ->  $VERSION"
  log "  state machine  ${LIVE##*stateMachine:}  ->  ${GREEN##*stateMachine:}"
  log "  trigger        ${TRIGGER##*function:}"
}

smoke_test() {
  interruptible "$REPOSITORY/scripts/smoke_test.sh" --env "$ENVIRONMENT"
}

record_rollback() {
  write_record succeeded
}

main() {
  parse_options "env to" break-lock "$@"
  ENVIRONMENT="${OPTION[env]:-${ENV:-}}" TO="${OPTION[to]:-${TO:-}}"
  BREAK_LOCK="${OPTION["break-lock"]:-${BREAK_LOCK:-}}" VERSION="" STRATEGY=""
  require_environment "$ENVIRONMENT"
  [[ -z "$TO" ]] || require_version_name "$TO"

  begin_operation rollback
  run_phases "${PHASES[@]}"
  log "rollback: $VERSION is live in $ENVIRONMENT ($(operation_seconds) s)"
  echo "$GREEN"
}

main "$@"
