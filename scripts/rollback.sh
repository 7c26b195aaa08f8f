#!/usr/bin/env bash
# Brings an environment back: to a release that was live before, by alias; or to a backup, whole.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/lock.sh
source "$REPOSITORY/scripts/lib/lock.sh"
# shellcheck source=scripts/lib/phases.sh
source "$REPOSITORY/scripts/lib/phases.sh"
# shellcheck source=scripts/lib/operation.sh
source "$REPOSITORY/scripts/lib/operation.sh"
# shellcheck source=scripts/lib/stacks.sh
source "$REPOSITORY/scripts/lib/stacks.sh"

# Back by alias: what was live before is still there.
readonly PHASES=(
  check_target       # is this the account and region of the environment, and may the caller go back there?
  choose_release     # the previous one or --to; refused unless all that it calls is there
  take_lock          # one deploy or rollback at a time; from here on there is a record
  switch_live        # both aliases; files that arrive from here on are that release's
  smoke_test         # what is live now, with data of its own
  record_rollback    # who, what, when, how long
  send_waiting_files # those that the trigger before has failed on
)

# Back to a backup: whatever of it was deleted or changed is made again, and tested before it is live.
readonly RESTORE_PHASES=(
  check_target          # is this the account and region of the environment, and may the caller make all of it anew?
  choose_backup         # read whole, or refused; what is as it was, changed, missing
  take_lock             # one deploy or rollback at a time; from here on there is a record
  restore_release       # releases/<version>/ in the bucket
  restore_missing       # functions, job, state machine, log groups: the stacks expect them
  restore_stacks        # templates, parameters and tags, by change sets
  restore_changed       # code and settings; function versions that are gone, published again
  restore_state_machine # the version that was live, or a new one where what it called is gone
  smoke_test_restored   # that version, with data of its own
  switch_live           # both aliases
  restore_aliases       # who may call the trigger, and how its calls are repeated
  verify_restored       # everything is as it was
  record_rollback       # who, what, when, how long
  send_waiting_files    # those that arrived when nothing took them
)

declare -rA REMEDIES=(
  [check_target]="choose credentials of the right account that may do this (AWS_PROFILE), or correct config/<env>/settings.yaml"
  [choose_release]="choose one of the releases named above (TO=); make releases lists them"
  [choose_backup]="nothing was touched: choose another backup (BACKUP=); make backups lists them"
  [take_lock]="wait for the command named above, or break its lock: BREAK_LOCK=1, or --break-lock"
  [restore_release]="run the same command again: every phase can be repeated"
  [restore_missing]="correct what is named above and run the same command again: every phase can be repeated"
  [restore_stacks]="correct what CloudFormation names above and run the same command again"
  [restore_changed]="correct what is named above and run the same command again: every phase can be repeated"
  [restore_state_machine]="run the same command again: every phase can be repeated"
  [smoke_test_restored]="all of the backup is there, but not live: see the run named above, or choose an earlier backup"
  [switch_live]="run the same command again: every phase can be repeated"
  [restore_aliases]="run the same command again: every phase can be repeated"
  [verify_restored]="somebody else changes the environment: end that, then run the same command again"
  [smoke_test]="the switch was made and stays: see the run named above; go further back (TO=)"
  [record_rollback]="the switch was made and holds; only its record could not be written"
  [send_waiting_files]="it is live and on record; send the files again: the same command, with TO=<that release> or BACKUP=<id>"
)

usage() {
  cat <<'USAGE'
Usage: scripts/rollback.sh --env ENV [--to VERSION | --backup ID] [--break-lock]

Points live in ENV at the previous release, or at any kept one (--to, or the variable TO): seconds, since only two
aliases move; `make releases` lists them. A release is refused unless all that it calls is there.
It says what it will do, does it, and runs the smoke test against what is live then. Where that fails, live stays at
the target: what was left had a reason to be left. Files that lie in the inbox are processed by it then.

With --backup (or the variable BACKUP) it restores that backup whole, also after functions, their versions, the job or
the state machine were deleted or changed by hand; `make backups` lists them. It says of each thing whether it is as it
was, makes again what is not, tests it, and makes it live; files that lie in the inbox are processed by it then.

Progress goes to stderr; stdout gets one line, the ARN of the version that is live.
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

# Globals: VERSION, MANIFEST_SHA256 (set)
choose_backup() {
  local target
  target="$(restore choose --backup "$BACKUP_ID")"
  { read -r VERSION && read -r MANIFEST_SHA256; } <<<"$target"
  log "  release        ${FROM:-nothing}  ->  $VERSION"
}

restore_release() {
  restore release
}

restore_missing() {
  restore missing
}

restore_stacks() {
  local stack stacks
  stacks="$(restore stacks)"
  [[ -n "$stacks" ]] || log "  all stacks are as they were"
  for stack in $stacks; do
    deploy_stack "$PREFIX-$stack" "$WORK/backup/stacks/$stack.yaml" "$WORK/backup/stacks/$stack.json"
  done
}

restore_changed() {
  restore changed
}

# Globals: GREEN, TRIGGER (set)
restore_state_machine() {
  local versions
  renew_lock
  versions="$(restore machine)"
  { read -r GREEN && read -r TRIGGER; } <<<"$versions"
  log "  ${GREEN##*stateMachine:}, behind ${TRIGGER##*function:}"
}

smoke_test_restored() {
  interruptible "$REPOSITORY/scripts/smoke_test.sh" --env "$ENVIRONMENT" \
    --state-machine-version-arn "$GREEN" --trigger-version-arn "$TRIGGER"
}

restore_aliases() {
  restore aliases
}

verify_restored() {
  restore verify
}

send_waiting_files() {
  python -m ops.data.inbox --env "$ENVIRONMENT"
}

smoke_test() {
  interruptible "$REPOSITORY/scripts/smoke_test.sh" --env "$ENVIRONMENT"
}

record_rollback() {
  write_record succeeded
}

# ---- what the phases are made of -------------------------------------------------------------------------------------

# Arguments: step of ops.backup.restore, its options...
restore() {
  python -m ops.backup.restore "$1" "$WORK/backup" --env "$ENVIRONMENT" "${@:2}"
}

main() {
  parse_options "env to backup" break-lock "$@"
  ENVIRONMENT="${OPTION[env]:-${ENV:-}}" TO="${OPTION[to]:-${TO:-}}" BACKUP_ID="${OPTION[backup]:-${BACKUP:-}}"
  BREAK_LOCK="${OPTION["break-lock"]:-${BREAK_LOCK:-}}" VERSION="" STRATEGY=""
  require_environment "$ENVIRONMENT"
  [[ -z "$TO" || -z "$BACKUP_ID" ]] || usage_error "--to names a release and --backup a backup: give one of them"
  [[ -z "$TO" ]] || require_version_name "$TO"
  [[ -z "$BACKUP_ID" ]] || require_backup_id "$BACKUP_ID"

  if [[ -n "$BACKUP_ID" ]]; then
    begin_operation restore
    run_phases "${RESTORE_PHASES[@]}"
    log "restore: $VERSION is live in $ENVIRONMENT, from backup $BACKUP_ID ($(operation_seconds) s)"
  else
    begin_operation rollback
    run_phases "${PHASES[@]}"
    log "rollback: $VERSION is live in $ENVIRONMENT ($(operation_seconds) s)"
  fi
  echo "$GREEN"
}

main "$@"
