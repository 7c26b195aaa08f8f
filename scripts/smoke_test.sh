#!/usr/bin/env bash
# Proves that one version of the state machine turns a file into the right rows, beside live traffic.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/smoke_test.sh --env ENV [--state-machine-version-arn ARN] [--trigger-version-arn ARN]

Runs a synthetic file of good, bad and repeated rows into the warehouse's schema `smoke` and compares what is there
with what the file should give: rows, content hash and the account of the others. The trigger in front is sent the event
of a file that is gone. Without an ARN it tests what is live.
Its rows and objects are removed afterwards; when it fails the objects stay, and it says where, with the execution.
USAGE
}

main() {
  local environment="${ENV:-}" versions=()
  while (($#)); do
    case "$1" in
      --env)
        require_value "$1" "${2:-}"
        environment="$2"
        shift 2
        ;;
      --state-machine-version-arn | --trigger-version-arn)
        require_value "$1" "${2:-}"
        versions+=("$1" "$2")
        shift 2
        ;;
      -h | --help)
        usage
        return
        ;;
      *) usage_error "unknown argument '$1'" ;;
    esac
  done
  require_environment "$environment"
  python -m ops.data.smoke --env "$environment" "${versions[@]}"
}

main "$@"
