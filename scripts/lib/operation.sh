# What deploy and rollback share: a record, and an end in order, however they end. Sourced, never run, after
# lock.sh and phases.sh. The script that sources it has REMEDIES, what to do about each phase that can fail.
# shellcheck shell=bash

OPERATION="$(basename "$0" .sh)"
readonly OPERATION

# What the record says, as it becomes known.
ACTION="" PART="" CALLER="" FROM="" BACKUP_ID="" LEFTOVER="" MANIFEST_SHA256="" LIVE_STATE_MACHINE="" LIVE_TRIGGER=""
TOUCHED=no     # whether what is live may have changed
RETURNED=no    # whether it was changed, and changed back
RECORDED=no    # whether the record says how it ended
INTERRUPTED="" # the signal that ended it
CHILD=""       # the command that a signal must reach first

# From here on the operation has a folder of its own, and ends in order.
# Arguments: action (deploy, rollback or restore).
# Globals: ACTION, WORK, STARTED_AT, STARTED_MS, REASON_FILE (set)
begin_operation() {
  ACTION="$1" STARTED_AT="$(date -u +%Y-%m-%dT%H:%M:%S.%3NZ)" STARTED_MS="$(now_ms)"
  WORK="$(mktemp -d)"
  # Where whatever fails leaves its reason for the record: die here, ops.environment.command in Python.
  export REASON_FILE="$WORK/reason"
  trap end_operation EXIT
  trap 'interrupt SIGINT 130' INT
  trap 'interrupt SIGTERM 143' TERM
}

# Outputs: the seconds since the operation began.
operation_seconds() {
  as_seconds $(($(now_ms) - STARTED_MS))
}

# Arguments: result, starting with running, succeeded, prepared, unchanged, failed, returned or interrupted.
write_record() {
  local reason=""
  [[ ! -s "$REASON_FILE" ]] || reason="$(<"$REASON_FILE")"
  python -m ops.release.deploys --env "$ENVIRONMENT" --action "$ACTION" --part "$PART" --strategy "$STRATEGY" --who "$CALLER" \
    --started "$STARTED_AT" --from "$FROM" --to "$VERSION" --result "$1" --reason "$reason" \
    --seconds "$(operation_seconds)" --lock "$LOCK_TOKEN" --state-machine-version-arn "$LIVE_STATE_MACHINE" \
    --trigger-version-arn "$LIVE_TRIGGER" --manifest-sha256 "$MANIFEST_SHA256" --backup "$BACKUP_ID" "${PHASE_TIMES[@]}"
  [[ "$1" == running ]] || RECORDED=yes
}

# The first phase: refuses another account or region than the environment's, and who may not do there what is asked for.
# Globals: ACTION; PREFIX, ACCOUNT, REGION, CALLER, LIVE, FROM, LEFTOVER, STRATEGY, STATE_MACHINE (set)
# shellcheck disable=SC2034  # read by the scripts
check_target() {
  local target lines to=()
  [[ ! "$ACTION" =~ ^(deploy|rollback|restore)$ ]] || to=(--to "$ACTION") # a plan and a backup change nothing that is live
  target="$(python -m ops.release.target --env "$ENVIRONMENT" "${to[@]}")"
  mapfile -t lines <<<"$target" # the last ones may be empty, and then are not there
  PREFIX="${lines[0]}" ACCOUNT="${lines[1]}" REGION="${lines[2]}" CALLER="${lines[3]}"
  LIVE="${lines[5]:-}" FROM="${lines[6]:-}" LEFTOVER="${lines[7]:-}"
  [[ "$ACTION" != deploy ]] || STRATEGY="${STRATEGY:-${lines[4]}}" # a rollback always switches all at once
  STATE_MACHINE="arn:aws:states:$REGION:$ACCOUNT:stateMachine:$PREFIX-etl"
  log "  account $ACCOUNT, region $REGION, as $CALLER"
  log "  live: ${FROM:-nothing yet}"
  [[ -z "$LEFTOVER" ]] || log "  an interrupted canary: $LEFTOVER"
}

# The phase from which on nobody else changes the environment, and the operation is on record.
take_lock() {
  take_environment_lock
  write_record running
}

# The only phase that changes what is live; refused whoever has lost the lock. A deploy that fails here leaves what was live
# before; a rollback leaves what it has switched already, since what it left had a reason to be left.
# Globals: LIVE, GREEN, TRIGGER, LOCK_TOKEN; TOUCHED, LIVE_STATE_MACHINE, LIVE_TRIGGER (set)
switch_live() {
  local code=0 or_give_back=()
  [[ "$ACTION" != deploy ]] || or_give_back=(--or-give-back)
  TOUCHED=yes
  python -m ops.release.switch --env "$ENVIRONMENT" --token "$LOCK_TOKEN" --expected "$LIVE" "${or_give_back[@]}" \
    --state-machine-version-arn "$GREEN" --trigger-version-arn "$TRIGGER" || code=$?
  if ((code != 0)); then
    note_return "$code"
    return "$code"
  fi
  LIVE_STATE_MACHINE="$GREEN" LIVE_TRIGGER="$TRIGGER"
  log "  live: $VERSION, ${GREEN##*stateMachine:}"
}

# Runs a command that may take long so that a signal reaches it: bash itself waits for the command in front of it. What
# runs here ignores SIGINT unless it asks for it, as the canary does, which says by what it was interrupted.
# Arguments: command...
interruptible() {
  local code=0
  "$@" &
  CHILD=$!
  await_child || code=$?
  CHILD=""
  return "$code"
}

# Returns the exit code of CHILD.
await_child() {
  local code=0
  wait "$CHILD" || code=$?
  note_return "$code"
  return "$code"
}

# Arguments: exit code of a command; 3 says that it has changed what is live, and changed it back.
# Globals: TOUCHED, RETURNED (set)
note_return() {
  if (($1 == 3)); then
    TOUCHED=no RETURNED=yes
  fi
}

# Arguments: signal, exit code.
interrupt() {
  trap '' INT TERM
  INTERRUPTED="$1"
  if [[ -n "$CHILD" ]]; then
    # Its own signal first, so that a canary says by what it was interrupted; TERM for what ignores SIGINT.
    kill -s "${1#SIG}" "$CHILD" 2>/dev/null || true
    kill -TERM "$CHILD" 2>/dev/null || true
    await_child || true
  fi
  exit "$2"
}

# Says where a failed operation stopped and what to do, and records it.
report_failure() {
  local result="failed"
  if [[ -n "$INTERRUPTED" ]]; then
    result="interrupted"
    [[ -s "$REASON_FILE" ]] || echo "$INTERRUPTED" >"$REASON_FILE"
  elif [[ "$RETURNED" == yes ]]; then
    result="returned"
  fi
  log "$OPERATION: ${result^^} in phase $CURRENT_PHASE after $(operation_seconds) s${INTERRUPTED:+, by $INTERRUPTED}"
  if [[ -n "$INTERRUPTED" ]]; then
    log "$OPERATION: remedy: run the same command again; what is done is not done twice"
  else
    log "$OPERATION: remedy: ${REMEDIES[$CURRENT_PHASE]}"
  fi
  [[ "$TOUCHED" == yes ]] || log "$OPERATION: live in $ENVIRONMENT: ${FROM:-nothing}, as before"
  # Before there is a bucket, or where S3 is what failed, these lines are all there is. What the lock turned away did
  # nothing, and its record could be that of the holder.
  if [[ -n "$CALLER" && -n "$VERSION" && "$CURRENT_PHASE" != take_lock && "$RECORDED" == no ]]; then
    write_record "$result in $CURRENT_PHASE" || log "$OPERATION: this could not be recorded"
  fi
}

end_operation() {
  local code=$?
  trap '' INT TERM # from here on it only tidies up
  if ((code != 0)) && [[ -n "$CURRENT_PHASE" ]]; then
    report_failure
  fi
  release_lock || log "$OPERATION: the lock could not be released; it runs out by itself"
  rm -rf "$WORK"
}
