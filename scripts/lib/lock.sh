# One deploy or rollback at a time in an environment. Sourced, never run.
# shellcheck shell=bash

readonly RENEW_SECONDS=60 # far below release.lock_lease_seconds

LOCK_TOKEN="" # set from the moment that the lock may be held
LOCK_RENEWED=0

# The token is made here, so that whatever interrupts the command that takes the lock, it can be released.
# Globals: ENVIRONMENT, CALLER, VERSION, BREAK_LOCK (1: whoever holds it); LOCK_TOKEN, LOCK_RENEWED (set)
take_environment_lock() {
  local break_lock=()
  [[ "${BREAK_LOCK:-}" != 1 ]] || break_lock=(--break-lock)
  LOCK_TOKEN="$HOSTNAME-$$-$EPOCHREALTIME" LOCK_RENEWED="$EPOCHSECONDS"
  python -m ops.release.lock take --env "$ENVIRONMENT" --token "$LOCK_TOKEN" --who "$CALLER" \
    --command "$(basename "$0" .sh) $VERSION" --pid "$$" "${break_lock[@]}"
}

# Fails once somebody else has the lock, and names them. What changes live, or what is published as the next to be live,
# asks whatever the time: a lock may have been broken a moment ago.
# Globals: ENVIRONMENT, LOCK_TOKEN, LOCK_RENEWED (set)
renew_lock() {
  python -m ops.release.lock renew --env "$ENVIRONMENT" --token "$LOCK_TOKEN"
  LOCK_RENEWED="$EPOCHSECONDS"
}

# Does nothing where no lock was taken, or it was renewed a moment ago.
# Globals: LOCK_TOKEN, LOCK_RENEWED
renew_lock_when_due() {
  [[ -n "$LOCK_TOKEN" ]] && ((EPOCHSECONDS - LOCK_RENEWED >= RENEW_SECONDS)) || return 0
  renew_lock
}

# Somebody else's lock is left alone.
# Globals: ENVIRONMENT, LOCK_TOKEN (emptied)
release_lock() {
  [[ -n "$LOCK_TOKEN" ]] || return 0
  python -m ops.release.lock release --env "$ENVIRONMENT" --token "$LOCK_TOKEN"
  LOCK_TOKEN=""
}
