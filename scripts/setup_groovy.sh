#!/usr/bin/env bash
# Makes sure of Groovy, which the tests of the Jenkinsfile run it with. Not part of `make setup`: nothing else needs it.
set -euo pipefail

usage() {
  cat <<'USAGE'
Usage: scripts/setup_groovy.sh

Does nothing where `groovy` is on the PATH. As root on Debian it installs the package; anywhere else it says what to
install and exits 1.
USAGE
}

main() {
  if [[ $# -gt 0 ]]; then
    usage
    [[ "$1" == -h || "$1" == --help ]] && return 0
    return 2
  fi
  command -v groovy >/dev/null && return
  if [[ "$EUID" -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "setup_groovy: groovy is not on the PATH; install it (Debian: apt-get install groovy) and try again" >&2
    return 1
  fi
  echo "setup_groovy: apt-get install groovy" >&2
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq >&2
  apt-get install -y -qq --no-install-recommends groovy >&2
  command -v groovy >/dev/null || {
    echo "setup_groovy: the package is installed, but groovy is not on the PATH" >&2
    return 1
  }
}

main "$@"
