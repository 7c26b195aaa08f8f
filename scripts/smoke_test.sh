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
The variable DATASET names the dataset; without it, the setting release.smoke_dataset does.
Its rows and objects are removed afterwards; when it fails the objects stay, and it says where, with the execution.
USAGE
}

main() {
  parse_options "env state-machine-version-arn trigger-version-arn" "" "$@"
  local environment="${OPTION[env]:-${ENV:-}}" versions=() name
  require_environment "$environment"
  for name in state-machine-version-arn trigger-version-arn; do
    [[ -z "${OPTION[$name]:-}" ]] || versions+=("--$name" "${OPTION[$name]}")
  done
  python -m ops.data.smoke --env "$environment" "${versions[@]}"
}

main "$@"
