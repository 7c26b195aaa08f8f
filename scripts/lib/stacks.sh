# CloudFormation by change sets: what would change is shown before it is done. Sourced, never run.
# shellcheck shell=bash

readonly STACK_POLL_SECONDS="${STACK_POLL_SECONDS:-0.5}"

# Arguments: stack name.  Outputs: its status, or nothing where there is no stack.
stack_status() {
  local output
  if output="$(aws cloudformation describe-stacks --stack-name "$1" \
    --query 'Stacks[0].StackStatus' --output text 2>&1)"; then
    echo "$output"
  elif [[ "$output" != *"does not exist"* ]]; then
    die "$1: $output"
  fi
}

# Arguments: stack name.  Outputs: its status once it is at rest.
settled_status() {
  local status
  status="$(stack_status "$1")"
  while [[ "$status" == *_IN_PROGRESS && "$status" != REVIEW_IN_PROGRESS ]]; do
    sleep "$STACK_POLL_SECONDS"
    status="$(stack_status "$1")"
  done
  echo "$status"
}

# Arguments: stack name.  Outputs: what failed in the last operation, each with its reason.
failure_reasons() {
  local reasons
  reasons="$(aws cloudformation describe-stack-events --stack-name "$1" --max-items 200 --output text \
    --query 'StackEvents[].[LogicalResourceId, ResourceType, ResourceStatus, ResourceStatusReason]' |
    awk -F '\t' '$4 == "User Initiated" { exit }
      $3 ~ /_FAILED$/ && $4 !~ /cancelled/ { printf "\n    %s (%s): %s", $1, $2, $4 }')"
  # What CloudFormation finds before it starts is told by another call.
  if [[ "$reasons" == *DescribeEvents* ]]; then
    reasons="$(aws cloudformation describe-events --stack-name "$1" --filters FailedEvents=true --output text \
      --query "OperationEvents[?EventType=='VALIDATION_ERROR'].[OperationId, LogicalResourceId, ResourceType, ValidationStatusReason]" |
      awk -F '\t' 'NR == 1 { last = $1 } $1 == last { printf "\n    %s (%s): %s", $2, $3, $4 }')"
  fi
  echo "$reasons"
}

# Arguments: stack name, change set name.
# Globals: CHANGE_SET_STATUS, CHANGE_SET_REASON, CHANGES (set; of CHANGES a line a resource)
await_change_set() {
  local answer
  while :; do
    answer="$(aws cloudformation describe-change-set --stack-name "$1" --change-set-name "$2" --output text \
      --query '[[[Status, StatusReason]], Changes[].ResourceChange.[Action, LogicalResourceId, ResourceType, Replacement]][]')"
    IFS=$'\t' read -r CHANGE_SET_STATUS CHANGE_SET_REASON <<<"$answer"
    [[ "$CHANGE_SET_STATUS" == CREATE_PENDING || "$CHANGE_SET_STATUS" == CREATE_IN_PROGRESS ]] || break
    sleep "$STACK_POLL_SECONDS"
  done
  CHANGES="$(awk -F '\t' 'NR > 1 { printf "  %-7s %-32s %s%s\n", $1, $2, $3, ($4 == "True" ? "  (REPLACED)" : "") }' \
    <<<"$answer")"
}

# A stack whose creation failed can only be deleted, and holds nothing that was ever used.
# Arguments: status.
is_failed_creation() {
  [[ "$1" == @(ROLLBACK_COMPLETE|ROLLBACK_FAILED|CREATE_FAILED|DELETE_FAILED) ]]
}

# Arguments: stack name, its status.  Outputs: CREATE or UPDATE.
change_set_type() {
  case "$2" in
    "" | REVIEW_IN_PROGRESS) echo CREATE ;;
    UPDATE_ROLLBACK_FAILED)
      die "$1 is $2; continue-update-rollback it first: $(failure_reasons "$1")"
      ;;
    *) echo UPDATE ;;
  esac
}

# Creates a change set and waits until it says what would change.
# Arguments: stack name, template file, file with parameters and tags (stack_request), CREATE or UPDATE, change set name.
# Globals: CHANGE_SET_STATUS, CHANGE_SET_REASON, CHANGES (set)
make_change_set() {
  aws cloudformation create-change-set --stack-name "$1" --template-body "file://$2" --cli-input-json "file://$3" \
    --change-set-type "$4" --change-set-name "$5" --capabilities CAPABILITY_NAMED_IAM >/dev/null
  await_change_set "$1" "$5"
}

# Whether the change set failed for the one reason that is none.
# Globals: CHANGE_SET_STATUS, CHANGE_SET_REASON
is_without_changes() {
  [[ "$CHANGE_SET_STATUS" == FAILED ]] &&
    [[ "$CHANGE_SET_REASON" == *@("didn't contain changes"|"No updates are to be performed")* ]]
}

# Brings a stack to its template and parameters; shows the changes first and does nothing where there are none.
# Arguments: stack name, template file, file with parameters and tags (stack_request).
deploy_stack() {
  local stack="$1" type change_set status
  status="$(settled_status "$stack")"
  if is_failed_creation "$status"; then
    log "  $stack is $status: deleting what its failed creation left"
    aws cloudformation delete-stack --stack-name "$stack"
    status="$(settled_status "$stack")"
    [[ -z "$status" || "$status" == DELETE_COMPLETE ]] || die "$stack cannot be deleted: $(failure_reasons "$stack")"
    status=""
  fi
  type="$(change_set_type "$stack" "$status")"
  change_set="deploy-$(date -u +%Y%m%dT%H%M%S)-$$"
  make_change_set "$stack" "$2" "$3" "$type" "$change_set"

  if [[ "$CHANGE_SET_STATUS" == FAILED ]]; then
    aws cloudformation delete-change-set --stack-name "$stack" --change-set-name "$change_set"
    is_without_changes || die "$stack: the change set cannot be made: $CHANGE_SET_REASON"
    log "  $stack: no changes"
    return
  fi

  log "  $stack: $type"
  log "$CHANGES"
  aws cloudformation execute-change-set --stack-name "$stack" --change-set-name "$change_set"
  status="$(settled_status "$stack")"
  [[ "$status" == "${type}_COMPLETE" ]] || die "$stack is $status:$(failure_reasons "$stack")"
}

# Writes what a deploy would change in a stack, from a change set that is deleted again. Runs in a subshell of its own,
# so that however it ends, nothing of it stays: neither the change set nor the empty stack that a first one makes.
# Arguments: stack name, template file, file with parameters and tags, file to write: {"status", "type", "change_set"}.
plan_stack() (
  local stack="$1" change_set status type=""
  change_set="plan-$(date -u +%Y%m%dT%H%M%S)-$$"
  status="$(settled_status "$stack")"
  if is_failed_creation "$status"; then
    printf '{"status": "%s", "type": "CREATE", "change_set": null}\n' "$status" >"$4"
    return
  fi
  type="$(change_set_type "$stack" "$status")"
  trap 'discard_change_set "$stack" "$change_set" "$type"' EXIT
  make_change_set "$stack" "$2" "$3" "$type" "$change_set"
  {
    printf '{"status": "%s", "type": "%s", "change_set":\n' "$status" "$type"
    aws cloudformation describe-change-set --stack-name "$stack" --change-set-name "$change_set" \
      --include-property-values --output json
    echo '}'
  } >"$4"
)

# Arguments: stack name, change set name, CREATE or UPDATE.
discard_change_set() {
  # A change set that was refused has left no stack.
  [[ "$3" == UPDATE || -n "$(stack_status "$1")" ]] || return 0
  aws cloudformation delete-change-set --stack-name "$1" --change-set-name "$2"
  [[ "$3" == CREATE ]] || return 0
  # Somebody else's change set, of a first deploy that is going on, keeps the stack.
  [[ "$(aws cloudformation list-change-sets --stack-name "$1" --output json --query 'length(Summaries)')" == 0 ]] || return 0
  aws cloudformation delete-stack --stack-name "$1"
  settled_status "$1" >/dev/null
}
