# What the release scripts share: where things are, how they speak, how they fail. Sourced, never run.
# shellcheck shell=bash

REPOSITORY="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
readonly REPOSITORY
readonly ENVIRONMENTS=(dev qa staging prod)

# A failing command inside $(...) fails the script too.
shopt -s inherit_errexit

# Scripts work from any folder, with or without make, and with the locked tools only.
export PATH="$REPOSITORY/.venv/dev/bin:$REPOSITORY/.venv/uv/bin:$PATH"
export PYTHONPATH="$REPOSITORY/scripts:$REPOSITORY/lambdas/layers/common/python"

# Arguments: message...  Outputs: the message on stderr; results alone go to stdout.
log() {
  printf '%s\n' "$*" >&2
}

# Arguments: message...  Exits 1. The message is also left for the record of the operation, where there is one.
die() {
  log "${0##*/}: $*"
  [[ -z "${REASON_FILE:-}" ]] || printf '%s\n' "$*" >"$REASON_FILE"
  exit 1
}

# Arguments: message...  Exits 2, as commands do that were called wrongly. Needs the script's function usage.
usage_error() {
  log "${0##*/}: $*"
  usage >&2
  exit 2
}

# The value of each option that was given, by its name; 1 for one that takes none.
declare -A OPTION

# Reads a script's arguments; --help ends it with its usage.
# Arguments: names of the options that take a value, names of those that take none, the script's arguments...
# Globals: OPTION (set)
# shellcheck disable=SC2034  # read by the scripts
parse_options() {
  local with_value=" $1 " without=" $2 " name
  shift 2
  while (($#)); do
    name="${1#--}"
    if [[ "$1" == -h || "$1" == --help ]]; then
      usage
      exit 0
    elif [[ "$1" == --?* && "$without" == *" $name "* ]]; then
      OPTION[$name]=1
      shift
    elif [[ "$1" == --?* && "$with_value" == *" $name "* ]]; then
      [[ -n "${2:-}" && "$2" != --* ]] || usage_error "$1 needs a value"
      OPTION[$name]="$2"
      shift 2
    else
      usage_error "unknown argument '$1'"
    fi
  done
}

# Arguments: environment, the option that names it (default: env).
require_environment() {
  local known
  for known in "${ENVIRONMENTS[@]}"; do
    [[ "$1" == "$known" ]] && return
  done
  usage_error "--${2:-env} '$1' is not an environment; choose one of: ${ENVIRONMENTS[*]}"
}

# Arguments: version. It becomes a folder, a key prefix and part of names.
require_version_name() {
  [[ "$1" =~ ^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ ]] ||
    usage_error "version '$1' must be 1 to 64 letters, digits, dots, hyphens or underscores"
}

# Arguments: backup id. It becomes a key prefix.
require_backup_id() {
  [[ "$1" =~ ^[0-9]{8}T[0-9]{9}Z-[A-Za-z0-9][A-Za-z0-9._-]{0,63}$ ]] ||
    usage_error "backup '$1' is no id of a backup: make backups lists them"
}

require_tools() {
  [[ -x "$REPOSITORY/.venv/dev/bin/aws" ]] || die "the locked tools are not installed; run: make setup"
}

# Waits for background jobs and fails if any failed; a bare `wait` forgets their exit codes.
# Arguments: process id...
wait_all() {
  local pid failed=0
  for pid in "$@"; do
    wait "$pid" || failed=1
  done
  return "$failed"
}

require_tools
