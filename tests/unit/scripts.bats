# The commands as they are called. Wrong usage: exit code 2, the reason and the usage on stderr, nothing done.

setup() {
  cd "$BATS_TEST_DIRNAME/../.." || exit 1
  unset ENV VERSION TO BACKUP TARGET STRATEGY FROM ROLE
}

# Arguments: words of the message, command...
refuses() {
  local words="$1"
  shift
  run --separate-stderr "$@"
  [ "$status" -eq 2 ] || return 1
  [ -z "$output" ] || return 1
  [[ "$stderr" == *"$words"* ]] || return 1
  [[ "$stderr" == *Usage:* ]]
}

bats_require_minimum_version 1.5.0

@test "every script explains itself" {
  for script in scripts/*.sh; do
    run --separate-stderr "$script" --help
    [ "$status" -eq 0 ]
    [[ "$output" == "Usage: $script"* ]]
  done
}

@test "an unknown argument is named" {
  for script in approve audit backup build deploy package_glue package_lambda plan preflight promote rollback smoke_test upload_artifacts; do
    refuses "unknown argument '--frob'" "scripts/$script.sh" --frob
  done
}

@test "an unknown environment is answered with the known ones" {
  for script in approve backup deploy plan preflight rollback smoke_test upload_artifacts; do
    refuses "choose one of: dev qa staging prod" "scripts/$script.sh" --env production
  done
}

@test "a missing environment is an error, not a default" {
  for script in approve backup deploy plan preflight rollback smoke_test upload_artifacts; do
    refuses "--env ''" "scripts/$script.sh"
  done
}

@test "an option without its value is an error" {
  refuses "--env needs a value" scripts/deploy.sh --env
  refuses "--env needs a value" scripts/deploy.sh --env --version v1
  refuses "--output needs a value" scripts/package_glue.sh --output
  refuses "--output is missing" scripts/package_lambda.sh
}

@test "a promotion and an approval name all that they need" {
  refuses "--from ''" scripts/promote.sh --to qa
  refuses "--to ''" scripts/promote.sh --from dev
  refuses "--to 'production' is not an environment" scripts/promote.sh --from staging --to production
  refuses "--role is missing" scripts/approve.sh --env prod --version v1
  refuses "--version is missing" scripts/approve.sh --env prod --role data-owner
}

@test "a part that there is not is answered with those that there are" {
  refuses "choose one of: upload infrastructure application" scripts/deploy.sh --env dev --part database
  refuses "--only 'layer' is neither glue nor lambda" scripts/build.sh --only layer
}

@test "without groovy and without root it is named what to install" {
  run --separate-stderr env PATH=/nowhere "$BASH" scripts/setup_groovy.sh
  [ "$status" -eq 1 ]
  [[ "$stderr" == *"groovy is not on the PATH; install it"* ]]
}

@test "a version that would leave its folder is refused" {
  refuses "version '../../etc'" scripts/build.sh --version ../../etc
  refuses "version '../../etc'" scripts/deploy.sh --env dev --version ../../etc
  refuses "version '../../etc'" scripts/plan.sh --env dev --version ../../etc
  refuses "version '../../etc'" scripts/promote.sh --from dev --to qa --version ../../etc
  refuses "version '../../etc'" scripts/approve.sh --env prod --role data-owner --version ../../etc
  refuses "version '../../etc'" scripts/preflight.sh --env prod --version ../../etc
}

@test "an unknown strategy is answered with the known ones" {
  refuses "choose one of: blue-green canary" scripts/deploy.sh --env dev --strategy all-at-once
  STRATEGY=rolling refuses "--strategy 'rolling' is not known" scripts/deploy.sh --env dev
}

@test "a release and a backup are two ways back" {
  id=20260101T000000000Z-v1
  refuses "give one of them" scripts/rollback.sh --env dev --to v1 --backup "$id"
  TO=v1 BACKUP="$id" refuses "give one of them" scripts/rollback.sh --env dev
}

@test "a backup that would leave its folder is refused" {
  refuses "backup '../../etc'" scripts/rollback.sh --env dev --backup ../../etc
  refuses "backup 'v1'" scripts/rollback.sh --env dev --backup v1
}

@test "what make is given reaches a command as it was written" {
  show='show: ; @printf "%s|" "$$SQL" "$${FILE:-}"'
  run make --eval "$show" show SQL="select '\$100 \$(shell echo no)'" FILE='a $b.csv'
  [ "$status" -eq 0 ]
  [ "$output" = "select '\$100 \$(shell echo no)'|a \$b.csv|" ]
  SQL='$1' run make --eval "$show" show
  [ "$output" = '$1||' ]
}

@test "every make target is valid bash in a folder with spaces and parentheses" {
  folder="$BATS_TEST_TMPDIR/a b (c)"
  mkdir "$folder"
  cp Makefile "$folder"
  targets="$(awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { print $1 }' "$folder/Makefile")"
  [[ "$targets" == *demo*lint* ]]
  for target in $targets; do
    recipe="$(make -C "$folder" --no-print-directory --dry-run "$target")"
    bash -n <<<"$recipe" || { echo "$target: $recipe"; return 1; }
  done
}
