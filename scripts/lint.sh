#!/usr/bin/env bash
# Runs every linter over the tree and reports them all, not only the first that fails.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'USAGE'
Usage: scripts/lint.sh

black, pylint, shellcheck, shfmt, cfn-lint, state machine, policy and table checks over the files git knows; the Jenkinsfile
where groovy is installed (make pipeline-test checks it everywhere).
BASE=<commit> is what the datasets' tables are held against; without it, where the branch left its upstream.
Exit code 1 when any of them finds something.
USAGE
}

FAILED=()

# Arguments: check's name, command...
run() {
  local name="$1" started=$SECONDS
  shift
  if "$@"; then
    printf 'lint: %-14s ok (%d s)\n' "$name" $((SECONDS - started)) >&2
  else
    printf 'lint: %-14s FAILED\n' "$name" >&2
    FAILED+=("$name")
  fi
}

# Arguments: git pathspec...  Outputs: the tracked and new files that match, one a line.
files() {
  git ls-files --cached --others --exclude-standard -- "$@"
}

# Debian's groovy finds no Java by itself unless it is Debian's default one.
check_jenkinsfile() {
  local java
  java="$(readlink -f "$(command -v java)")"
  JAVA_HOME="${java%/bin/java}" groovy -cp tests/pipeline/groovy tests/pipeline/groovy/check.groovy Makefile Jenkinsfile
}

main() {
  if [[ $# -gt 0 ]]; then
    usage
    [[ "$1" == -h || "$1" == --help ]] && return 0
    return 2
  fi
  local python shell templates
  mapfile -t python < <(files '*.py')
  mapfile -t shell < <(files '*.sh' '.ci/run')
  mapfile -t templates < <(files 'cloudformation/*.yaml')

  run black black --check --quiet "${python[@]}"
  run pylint pylint --score=n "${python[@]}"
  run shellcheck shellcheck --external-sources "${shell[@]}"
  run shfmt shfmt -d -i 2 -ci "${shell[@]}"
  run cfn-lint cfn-lint "${templates[@]}"
  run state-machine python -m ops.checks.asl_check
  run policies python -m ops.checks.iam_check
  run tables python -m ops.checks.evolution_check
  if command -v groovy >/dev/null; then
    run jenkinsfile check_jenkinsfile
  else
    echo "lint: jenkinsfile    not checked: there is no groovy; make pipeline-test installs it" >&2
  fi

  if [[ ${#FAILED[@]} -gt 0 ]]; then
    echo "lint: failed: ${FAILED[*]}" >&2
    return 1
  fi
}

main "$@"
