#!/usr/bin/env bash
# Packages every Lambda function as a zip of its own, and the layer that they share.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/packaging.sh
source "$REPOSITORY/scripts/lib/packaging.sh"

# Our own limits, far below AWS's 50 MB: small functions start fast, and one can read them in the console.
readonly FUNCTION_ZIP_LIMIT=$((100 * 1024))
readonly LAYER_ZIP_LIMIT=$((5 * 1024 * 1024))
# AWS's limit for a function with its layers.
readonly LAMBDA_UNZIPPED_LIMIT=$((250 * 1024 * 1024))

usage() {
  cat <<'USAGE'
Usage: scripts/package_lambda.sh --output FOLDER

Writes FOLDER/lambdas/<function>.zip for each lambdas/<function>/ and FOLDER/layers/common.zip.
Dependencies come from the requirements.txt beside the code, hash-locked. The same sources give the same bytes.
Fails when a function's zip is over 100 KB, the layer's over 5 MB, or both over 250 MB unzipped.
USAGE
}

# Arguments: stage folder, output folder.
package_layer() {
  copy_tree "$REPOSITORY/lambdas/layers/common/python" "$1/python"
  install_requirements "$REPOSITORY/lambdas/layers/common/requirements.txt" "$1/python"
  python -m ops.build.zip_tree "$1" "$2/layers/common.zip"
  check_size "layers/common.zip" "$(wc -c <"$2/layers/common.zip")" "$LAYER_ZIP_LIMIT"
}

# Arguments: function, stage folder, output folder, bytes of the unzipped layer.
package_function() {
  local name="$1" stage="$2" zip="$3/lambdas/$1.zip" layer_bytes="$4"
  copy_tree "$REPOSITORY/lambdas/$name/src" "$stage"
  install_requirements "$REPOSITORY/lambdas/$name/requirements.txt" "$stage"
  python -m ops.build.zip_tree "$stage" "$zip"
  check_size "lambdas/$name.zip" "$(wc -c <"$zip")" "$FUNCTION_ZIP_LIMIT"
  check_size "$name and its layer, unzipped," $(($(tree_bytes "$stage") + layer_bytes)) "$LAMBDA_UNZIPPED_LIMIT"
}

main() {
  parse_options output "" "$@"
  local output="${OPTION[output]:-}" source name layer_bytes packaged=()
  [[ -n "$output" ]] || usage_error "--output is missing"

  mkdir -p "$output/lambdas" "$output/layers"
  output="$(cd "$output" && pwd)"
  stage="$(mktemp -d)"
  trap 'rm -rf "$stage"' EXIT

  package_layer "$stage/layer" "$output"
  layer_bytes="$(tree_bytes "$stage/layer")"
  for source in "$REPOSITORY"/lambdas/*/src; do
    name="$(basename "$(dirname "$source")")"
    package_function "$name" "$stage/$name" "$output" "$layer_bytes"
    packaged+=("$name.zip")
  done
  log "package_lambda: common.zip ${packaged[*]}"
}

main "$@"
