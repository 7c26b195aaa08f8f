#!/usr/bin/env bash
# Brings one release live in one environment. Until the phase switch_live, what is live stays as it is.
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
# shellcheck source=scripts/lib/publish.sh
source "$REPOSITORY/scripts/lib/publish.sh"

readonly PHASES=(
  check_target          # is this the account and region of the environment, and may the caller deploy there?
  verify_release        # build the release, or fetch it, and compare every artifact with the manifest
  check_gates           # does the environment take this release?
  check_tables          # can the warehouse's tables take its datasets? Else nothing is changed
  compare_with_live     # is it live, as deployed? Then there is nothing to do
  artifact_bucket       # only where there is none yet: the lock lives in it
  take_lock             # one deploy or rollback at a time; from here on there is a record
  backup                # what is live, whole: the way back from here, also from damage
  end_canary            # what one that was killed has left: all goes to what is live
  artifacts_stack       # the bucket that releases live in
  upload_release        # once a version, and with it what speaks for it: its tests, its checks before
  data_stack            # keys, buckets, warehouse
  application_stack     # roles, functions, job, state machine
  monitoring_stack      # alarms and their topic
  publish               # Glue checked, Lambda versions published, in parallel
  prepare_warehouse     # schemas, tables, new columns; the tables in the Data Catalog
  publish_state_machine # a version that pins all of the above: the release
  smoke_test            # that version, with data of its own
  shift_traffic         # canary: a part of the traffic, more step by step, watched; else nothing
  switch_live           # the only phase that changes what is live
  record_deploy         # who, what, when, how long
  prune                 # releases and backups that nobody needs any more
)

readonly STRATEGIES=(blue-green canary)

# A deploy can be run in three parts, one after another; here is the phase that each begins with. Every part first does
# the upload, which does nothing where the release is in its bucket, and ends with the record.
declare -rA PARTS=([check_target]=upload [data_stack]=infrastructure [publish]=application)

# What to do when a phase fails; running deploy again repeats what is done without changing it.
declare -rA REMEDIES=(
  [check_target]="choose credentials of the right account that may do this (AWS_PROFILE), or correct config/<env>/settings.yaml"
  [verify_release]="run make build again; for a version of the past, check that it was uploaded"
  [check_gates]="do what is said above (make preflight shows all of it); config/<env>/settings.yaml has the gates"
  [check_tables]="change the dataset's configuration as said above"
  [compare_with_live]="correct what is named above and deploy again"
  [artifact_bucket]="correct what is named above and deploy again"
  [take_lock]="wait for the command named above, or break its lock: BREAK_LOCK=1, or --break-lock"
  [backup]="nothing was changed yet: correct what is named above and deploy again"
  [end_canary]="end it by: make rollback"
  [artifacts_stack]="correct what CloudFormation names above and deploy again"
  [upload_release]="a version is written once: commit your changes, or name another VERSION"
  [data_stack]="correct what CloudFormation names above and deploy again"
  [application_stack]="correct what CloudFormation names above and deploy again"
  [monitoring_stack]="correct what CloudFormation names above and deploy again"
  [publish]="a stack and the release disagree: deploy again; if it stays, rebuild under a new version"
  [prepare_warehouse]="bring the table and the dataset's columns together as said above"
  [publish_state_machine]="correct step-functions/ (make lint shows what is wrong) and deploy again"
  [smoke_test]="look into the run named above; the release is published, but not live"
  [shift_traffic]="correct what is said above and deploy again; docs/runbooks/canary.md"
  [switch_live]="correct what is said above and deploy again: the switch is the only thing left"
  [record_deploy]="the release is live; only its record could not be written: deploy again"
  [prune]="the release is live and on record; the next deploy removes what is left over"
)

usage() {
  cat <<'USAGE'
Usage: scripts/deploy.sh --env ENV [--version VERSION] [--strategy blue-green|canary]
                         [--part upload|infrastructure|application] [--builds FOLDER [--promoted-from ENV]]
                         [--break-lock]

Brings a release live in ENV. Without --version (or the variable VERSION) it is that of the sources, built first; a
version that is not in build/ is fetched from the environment's artifact bucket. Every phase can be repeated: deploying
again finishes what was interrupted, and ends at once where the release is live as it was deployed.
--strategy (or the variable STRATEGY, or release.strategy in config/): blue-green switches all at once; canary gives the
release a part of the traffic first, more step by step (release.canary in config/), and returns by itself when an alarm
goes off or one of its executions fails.
--builds is where releases lie, build/ unless promote.sh names another folder; --promoted-from says which environment it
has fetched them from, whose checks this release must have passed.
One deploy or rollback at a time: --break-lock (or BREAK_LOCK=1) takes the lock from whoever holds it.
--part does one of the three parts of a deploy, to be called in this order: only application changes what is live.
Progress goes to stderr; stdout gets one line, the ARN of the version that is live; none after another part.
USAGE
}

# ---- phases ----------------------------------------------------------------------------------------------------------

check_gates() {
  python -m ops.release.gates --env "$ENVIRONMENT" --promoted-from "$PROMOTED_FROM" "$RELEASE_FOLDER"
}

check_tables() {
  python -m ops.data.tables check --env "$ENVIRONMENT" --config "$RELEASE_CONFIG"
}

# Ends the deploy where this very release was deployed last and nothing was changed by hand since.
compare_with_live() {
  if [[ -n "$PART" || -n "$LEFTOVER" || "$FROM" != "$VERSION" ]]; then
    log "  there is something to do"
    return
  fi
  if ! python -m ops.drift.since_deploy --env "$ENVIRONMENT" --version "$VERSION" --manifest-sha256 "$MANIFEST_SHA256"; then
    return
  fi
  send_evidence
  write_record unchanged
  log "deploy: nothing to do: $VERSION is live in $ENVIRONMENT as it was deployed ($(operation_seconds) s)"
  echo "$LIVE"
  exit 0
}

# The very first deploy makes the bucket before anything could be locked; every other one changes nothing here.
artifact_bucket() {
  if bucket_exists "$PREFIX-artifacts-$ACCOUNT"; then
    log "  it is there"
  else
    release_stack artifacts
  fi
}

# Globals: BACKUP_ID (set; empty where nothing is live yet)
backup() {
  BACKUP_ID="$(python -m ops.backup.make --env "$ENVIRONMENT" --who "$CALLER" --command "deploy $VERSION")"
}

end_canary() {
  if [[ -n "$LEFTOVER" ]]; then
    renew_lock
    python -m ops.release.canary end --env "$ENVIRONMENT"
    log "  ended; all goes to $FROM"
  fi
}

artifacts_stack() {
  release_stack artifacts
}

upload_release() {
  "$REPOSITORY/scripts/upload_artifacts.sh" --env "$ENVIRONMENT" --version "$VERSION" --builds "$BUILDS"
  send_evidence
}

data_stack() {
  release_stack data
}

application_stack() {
  release_stack application
}

monitoring_stack() {
  release_stack monitoring
}

# Functions that somebody has changed by hand are changed back first, or that would go live.
publish() {
  local glue lambdas
  python -m ops.drift.mend --env "$ENVIRONMENT" "$RELEASE_FOLDER"
  check_glue_job &
  glue=$!
  publish_functions &
  lambdas=$!
  wait_all "$glue" "$lambdas" || die "not everything was published; see above"
}

prepare_warehouse() {
  python -m ops.data.tables prepare --env "$ENVIRONMENT" --config "$RELEASE_CONFIG"
  python -m ops.data.catalog --env "$ENVIRONMENT" --config "$RELEASE_CONFIG"
}

# Globals: GREEN, TRIGGER (set)
publish_state_machine() {
  renew_lock
  python -m ops.release.definition --env "$ENVIRONMENT" --versions "$WORK/versions" "$RELEASE_FOLDER" \
    >"$WORK/definition.json"
  GREEN="$(publish_state_machine_version "$STATE_MACHINE" "$WORK/definition.json" "$VERSION")"
  TRIGGER="$(<"$WORK/versions/trigger_etl")"
  log "  ${GREEN##*stateMachine:}"
}

smoke_test() {
  if [[ "$LIVE" == "$GREEN" ]]; then
    log "  this version is live already, and was tested before it was"
    return
  fi
  "$REPOSITORY/scripts/smoke_test.sh" --env "$ENVIRONMENT" \
    --state-machine-version-arn "$GREEN" --trigger-version-arn "$TRIGGER"
}

# Whatever comes of a canary, what is live before it is live after it.
# Globals: STRATEGY, LIVE, GREEN, TRIGGER, LOCK_TOKEN; TOUCHED (set)
shift_traffic() {
  if [[ "$STRATEGY" == blue-green ]]; then
    log "  blue-green: all at once"
  elif [[ -z "$LIVE" ]]; then
    log "  nothing is live yet that the release could be weighed against"
  elif [[ "$LIVE" == "$GREEN" ]]; then
    log "  this version is live already"
  else
    TOUCHED=yes
    interruptible python -m ops.release.canary run --env "$ENVIRONMENT" --token "$LOCK_TOKEN" --live "$LIVE" \
      --state-machine-version-arn "$GREEN" --trigger-version-arn "$TRIGGER"
    TOUCHED=no
  fi
}

# Only what has been through the switch counts as a deploy: a rollback goes back to nothing else.
record_deploy() {
  if [[ "$TOUCHED" == yes ]]; then
    write_record succeeded
  else
    write_record prepared
  fi
}

prune() {
  python -m ops.release.prune --env "$ENVIRONMENT"
  python -m ops.backup.listing prune --env "$ENVIRONMENT"
}

# ---- what the phases are made of -------------------------------------------------------------------------------------

# Arguments: part.  Outputs: its phases, one a line.
phases_of() {
  local phase part=""
  for phase in "${PHASES[@]}"; do
    part="${PARTS[$phase]:-$part}"
    if [[ "$part" == upload || "$part" == "$1" || "$phase" == record_deploy ]]; then
      echo "$phase"
    fi
  done
}

# Arguments: bucket.
bucket_exists() {
  local output
  output="$(aws s3api head-bucket --bucket "$1" 2>&1)" && return
  [[ "$output" == *"(404)"* ]] || die "$1: $output"
  return 1
}

# Arguments: stack.
release_stack() {
  stack_request "$1" >"$WORK/$1.json"
  deploy_stack "$PREFIX-$1" "$(stack_template "$1")" "$WORK/$1.json"
}

# What speaks for the release: its tests here, its checks in the environment before.
send_evidence() {
  python -m ops.release.evidence --env "$ENVIRONMENT" --promoted-from "$PROMOTED_FROM" "$RELEASE_FOLDER"
}

# Glue has no versions: one job serves every release, each run being given its script and wheel.
check_glue_job() {
  local job
  job="$(aws glue get-job --job-name "$PREFIX-etl" \
    --query 'Job.[Name, GlueVersion, WorkerType, NumberOfWorkers]' --output text)"
  log "  Glue job ${job//$'\t'/ }"
}

# One file a function under $WORK/versions, holding the ARN of its version.
publish_functions() {
  local zip name pids=()
  mkdir -p "$WORK/versions"
  for zip in "$RELEASE_FOLDER"/lambdas/*.zip; do
    name="$(basename "$zip" .zip)"
    publish_function_version "$PREFIX-${name//_/-}" "$zip" "$VERSION" >"$WORK/versions/$name" &
    pids+=($!)
  done
  wait_all "${pids[@]}"
  for name in "$WORK"/versions/*; do
    log "  ${name##*/} version $(sed 's/.*://' "$name")"
  done
}

# Arguments: strategy.
require_strategy() {
  local known
  for known in "${STRATEGIES[@]}"; do
    [[ "$1" == "$known" ]] && return
  done
  usage_error "--strategy '$1' is not known; choose one of: ${STRATEGIES[*]}"
}

main() {
  parse_options "env version strategy part builds promoted-from" break-lock "$@"
  ENVIRONMENT="${OPTION[env]:-${ENV:-}}" VERSION="${OPTION[version]:-${VERSION:-}}" PART="${OPTION[part]:-}"
  BUILDS="${OPTION[builds]:-$BUILDS}" PROMOTED_FROM="${OPTION["promoted-from"]:-}"
  STRATEGY="${OPTION[strategy]:-${STRATEGY:-}}" BREAK_LOCK="${OPTION["break-lock"]:-${BREAK_LOCK:-}}"
  require_environment "$ENVIRONMENT"
  [[ -z "$VERSION" ]] || require_version_name "$VERSION"
  [[ -z "$STRATEGY" ]] || require_strategy "$STRATEGY"
  local phases=("${PHASES[@]}")
  if [[ -n "$PART" ]]; then
    [[ " ${PARTS[*]} " == *" $PART "* ]] || usage_error "--part '$PART' is none; choose one of: upload infrastructure application"
    mapfile -t phases < <(phases_of "$PART")
  fi

  begin_operation deploy
  run_phases "${phases[@]}"
  if [[ "$TOUCHED" == yes ]]; then
    log "deploy: $VERSION is live in $ENVIRONMENT ($(operation_seconds) s)"
    echo "$GREEN"
  else
    log "deploy: $PART of $VERSION done in $ENVIRONMENT ($(operation_seconds) s); live: ${FROM:-nothing}, as before"
  fi
}

main "$@"
