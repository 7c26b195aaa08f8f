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
# Arguments: stack name.  Outputs: CREATE or UPDATE.
change_set_type() {
  local status
  status="$(settled_status "$1")"
  case "$status" in
    "" | REVIEW_IN_PROGRESS) echo CREATE ;;
    ROLLBACK_COMPLETE | ROLLBACK_FAILED | CREATE_FAILED | DELETE_FAILED)
      log "  $1 is $status: deleting what its failed creation left"
      aws cloudformation delete-stack --stack-name "$1"
      status="$(settled_status "$1")"
      [[ -z "$status" || "$status" == DELETE_COMPLETE ]] || die "$1 cannot be deleted: $(failure_reasons "$1")"
      echo CREATE
      ;;
    UPDATE_ROLLBACK_FAILED)
      die "$1 is $status; continue-update-rollback it first: $(failure_reasons "$1")"
      ;;
    *) echo UPDATE ;;
  esac
}

# Brings a stack to its template and parameters; shows the changes first and does nothing where there are none.
# Arguments: stack name, template file, file with parameters and tags (ops.release.stacks).
deploy_stack() {
  local stack="$1" type change_set status
  type="$(change_set_type "$stack")"
  change_set="deploy-$(date -u +%Y%m%dT%H%M%S)-$$"
  aws cloudformation create-change-set --stack-name "$stack" --change-set-name "$change_set" \
    --change-set-type "$type" --template-body "file://$2" --cli-input-json "file://$3" \
    --capabilities CAPABILITY_NAMED_IAM >/dev/null
  await_change_set "$stack" "$change_set"

  if [[ "$CHANGE_SET_STATUS" == FAILED ]]; then
    aws cloudformation delete-change-set --stack-name "$stack" --change-set-name "$change_set"
    case "$CHANGE_SET_REASON" in
      *"didn't contain changes"* | *"No updates are to be performed"*)
        log "  $stack: no changes"
        return
        ;;
      *) die "$stack: the change set cannot be made: $CHANGE_SET_REASON" ;;
    esac
  fi

  log "  $stack: $type"
  log "$CHANGES"
  aws cloudformation execute-change-set --stack-name "$stack" --change-set-name "$change_set"
  status="$(settled_status "$stack")"
  [[ "$status" == "${type}_COMPLETE" ]] || die "$stack is $status:$(failure_reasons "$stack")"
}
