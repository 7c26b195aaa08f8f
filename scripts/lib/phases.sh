# Runs a script's phases one after another, and says of each its name and its seconds. Sourced, never run, after lock.sh.
# shellcheck shell=bash

CURRENT_PHASE=""
PHASE_TIMES=() # name=seconds of each phase that has ended well

# Outputs: milliseconds since the epoch.
now_ms() {
  echo $((${EPOCHREALTIME/[.,]/} / 1000))
}

# Arguments: milliseconds.  Outputs: the same as seconds, with one digit after the point.
as_seconds() {
  printf '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100))
}

# A phase is a function. The first one that fails ends the script, with CURRENT_PHASE still set.
# Arguments: function...
run_phases() {
  local started seconds
  for CURRENT_PHASE in "$@"; do
    log "==> $CURRENT_PHASE"
    renew_lock_when_due
    started="$(now_ms)"
    "$CURRENT_PHASE"
    seconds="$(as_seconds $(($(now_ms) - started)))"
    PHASE_TIMES+=("$CURRENT_PHASE=$seconds")
    log "    $seconds s"
  done
  CURRENT_PHASE=""
}
