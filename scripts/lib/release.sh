# The release that deploy and plan are about: its folder, and what its stacks are given. Sourced, never run.
# shellcheck shell=bash

BUILDS="$REPOSITORY/build" # where releases lie, a folder a version

# Builds the release of the sources where no version is named, fetches one that is not in build/.
# Globals: BUILDS, ENVIRONMENT, WORK; VERSION, RELEASE_FOLDER, RELEASE_CONFIG, MANIFEST_SHA256 (set)
# shellcheck disable=SC2034  # read by the scripts
verify_release() {
  [[ -n "$VERSION" ]] || VERSION="$("$REPOSITORY/scripts/build.sh")"
  RELEASE_FOLDER="$BUILDS/$VERSION"
  if [[ ! -d "$RELEASE_FOLDER" ]]; then
    log "  build/$VERSION is not there; fetching it"
    python -m ops.release.releases download --env "$ENVIRONMENT" --version "$VERSION" "$WORK/release"
    mkdir -p "$BUILDS"
    mv "$WORK/release" "$RELEASE_FOLDER"
  fi
  python -m ops.build.manifest verify "$RELEASE_FOLDER"
  RELEASE_CONFIG="$RELEASE_FOLDER/config/$ENVIRONMENT.json"
  MANIFEST_SHA256="$(sha256sum <"$RELEASE_FOLDER/manifest.json" | cut -d ' ' -f 1)"
  log "  release $VERSION matches its manifest"
}

# Arguments: stack.  Outputs: its template's file.
stack_template() {
  echo "$RELEASE_FOLDER/cloudformation/$1.yaml"
}

# Arguments: stack.  Outputs: its parameters and tags.
stack_request() {
  python -m ops.release.stacks --config "$RELEASE_CONFIG" --template "$(stack_template "$1")" --stack "$1" \
    --release "$VERSION"
}
