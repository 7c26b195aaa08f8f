#!/usr/bin/env bash
# Backs up what is live in an environment, as every deploy does before it changes anything.
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
  check_target          # is this the account and region that the environment is configured for?
  take_environment_lock # nothing changes while it is read
  back_up               # each part with its SHA-256
)

# shellcheck disable=SC2034  # read by operation.sh
declare -rA REMEDIES=(
  [check_target]="choose credentials of the right account (AWS_PROFILE), or correct config/<env>/settings.yaml"
  [take_environment_lock]="wait for the command named above, or break its lock: BREAK_LOCK=1, or --break-lock"
  [back_up]="correct what is named above and run it again"
)

usage() {
  cat <<'USAGE'
Usage: scripts/backup.sh --env ENV [--break-lock]

Backs up the release that is live in ENV: functions, layer, Glue job, state machine, aliases, stacks, log groups and the
release's own objects, under backups/<id>/ in the artifact bucket. What the last backup holds already is not written
again. `make rollback BACKUP=<id>` restores one; `make backups` lists them.
Progress goes to stderr; stdout gets one line, the backup's id.
USAGE
}

# ---- phases ----------------------------------------------------------------------------------------------------------

# Globals: BACKUP_ID (set)
back_up() {
  BACKUP_ID="$(python -m ops.backup.make --env "$ENVIRONMENT" --who "$CALLER" --command backup)"
  [[ -n "$BACKUP_ID" ]] || die "nothing is live in $ENVIRONMENT; run: make deploy ENV=$ENVIRONMENT"
}

main() {
  parse_options "env" break-lock "$@"
  # shellcheck disable=SC2034  # VERSION and BREAK_LOCK are read by lock.sh
  ENVIRONMENT="${OPTION[env]:-${ENV:-}}" VERSION="" BREAK_LOCK="${OPTION["break-lock"]:-${BREAK_LOCK:-}}"
  require_environment "$ENVIRONMENT"

  begin_operation backup
  run_phases "${PHASES[@]}"
  echo "$BACKUP_ID"
}

main "$@"
