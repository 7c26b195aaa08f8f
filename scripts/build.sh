#!/usr/bin/env bash
# Builds one release: every artifact under build/<version>/ and a manifest that says what each one is.
set -euo pipefail

# shellcheck source=scripts/lib/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
# shellcheck source=scripts/lib/packaging.sh
source "$REPOSITORY/scripts/lib/packaging.sh"

usage() {
  cat <<'USAGE'
Usage: scripts/build.sh [--version NAME | --only glue|lambda]

Builds build/<version>/ and prints the version. Without --version (or the variable VERSION) the version is that of the
sources: commit date, commit, and for a changed tree "-dirty-" and a hash of the changes, which only dev takes. Such a
build is reused when it is there and matches its manifest; a version that you name yourself is always built anew.
--only packages the Glue job or the functions for the next build of the same sources, so that the two can be done side by
side; a build packages what it does not find.
The same commit gives the same bytes, in any folder and under any umask, locale and time zone.
USAGE
}

# Arguments: folder.
copy_definitions() {
  mkdir -p "$1/cloudformation" "$1/step-functions" "$1/config"
  install -m 644 "$REPOSITORY"/cloudformation/*.yaml "$1/cloudformation"
  install -m 644 "$REPOSITORY"/step-functions/*.asl.json "$1/step-functions"
  local environment
  for environment in "${ENVIRONMENTS[@]}"; do
    python -m ops.config json --env "$environment" >"$1/config/$environment.json"
  done
}

# What can be known of a release without an account is known here, before anything is uploaded.
check_definitions() {
  python -m ops.checks.asl_check "$REPOSITORY"/step-functions/*.asl.json >&2 &&
    cfn-lint --non-zero-exit-code error "$REPOSITORY"/cloudformation/*.yaml >&2
}

# Arguments: glue or lambda.  Outputs: where its package waits for a build of the sources as they are.
waiting_package() {
  echo "$REPOSITORY/build/.packages/$(python -m ops.build.version)-$1"
}

# Arguments: glue or lambda.
package_for_later() {
  local target
  target="$(waiting_package "$1")"
  mkdir -p "$REPOSITORY/build/.packages"
  partial="$(mktemp -d "$REPOSITORY/build/.packages/.partial.XXXXXX")"
  trap 'rm -rf "$partial"' EXIT
  "$REPOSITORY/scripts/package_$1.sh" --output "$partial"
  rm -rf "$target"
  mv "$partial" "$target"
}

# Takes the package that waits, so that no later build can, or makes it.
# Arguments: glue or lambda, folder of the release.
package() {
  local waiting taken
  waiting="$(waiting_package "$1")" taken="$2/.$1"
  if [[ -d "$waiting" ]] && mv "$waiting" "$taken" 2>/dev/null; then
    mv "$taken"/* "$2"
    rmdir "$taken"
    log "build: $1 was packaged before"
  else
    "$REPOSITORY/scripts/package_$1.sh" --output "$2"
  fi
}

# Builds beside the target and moves it there whole, so that an interrupted build leaves none.
# Arguments: version.
build() {
  local version="$1" target="$REPOSITORY/build/$1" glue lambdas definitions
  mkdir -p "$REPOSITORY/build"
  partial="$(mktemp -d "$REPOSITORY/build/.partial.XXXXXX")"
  trap 'rm -rf "$partial"' EXIT
  chmod 755 "$partial"

  package glue "$partial" &
  glue=$!
  package lambda "$partial" &
  lambdas=$!
  check_definitions &
  definitions=$!
  copy_definitions "$partial"
  wait_all "$glue" "$lambdas" "$definitions" || die "packaging or a check of the definitions failed; it is said above"
  python -m ops.build.sbom --version "$version" "$partial"
  python -m ops.build.manifest create --version "$version" "$partial"

  rm -rf "$target"
  mv "$partial" "$target"
}

main() {
  parse_options "version only" "" "$@"
  local version="${OPTION[version]:-${VERSION:-}}" only="${OPTION[only]:-}" started=$SECONDS

  if [[ -n "$only" ]]; then
    [[ "$only" == glue || "$only" == lambda ]] || usage_error "--only '$only' is neither glue nor lambda"
    package_for_later "$only"
    return
  fi

  if [[ -z "$version" ]]; then
    version="$(python -m ops.build.version)"
    if [[ -f "$REPOSITORY/build/$version/manifest.json" ]] &&
      python -m ops.build.manifest verify "$REPOSITORY/build/$version"; then
      log "build: build/$version is there and matches its manifest"
      echo "$version"
      return
    fi
  fi
  require_version_name "$version"
  build "$version"
  log "build: build/$version ($((SECONDS - started)) s)"
  echo "$version"
}

main "$@"
