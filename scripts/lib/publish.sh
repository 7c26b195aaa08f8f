# Publishes versions of functions and of the state machine. Sourced, never run.
# shellcheck shell=bash

# Arguments: file.  Outputs: its SHA-256 as Lambda writes it.
base64_sha256() {
  python -c 'import base64, hashlib, sys
print(base64.b64encode(hashlib.sha256(open(sys.argv[1], "rb").read()).digest()).decode())' "$1"
}

# Refuses code other than the given zip. Publishing unchanged code again gives the version that is there.
# Arguments: function, its zip, release.  Outputs: the ARN of the function's version.
publish_function_version() {
  aws lambda publish-version --function-name "$1" --code-sha256 "$(base64_sha256 "$2")" \
    --description "$3" --query FunctionArn --output text
}

# Updates the definition only where it differs; publishing it unchanged gives the version that is there.
# Arguments: state machine ARN, file with the definition, release.  Outputs: the ARN of the version.
publish_state_machine_version() {
  local current
  current="$(aws stepfunctions describe-state-machine --state-machine-arn "$1" --query definition --output text)"
  if [[ "$current" == "$(<"$2")" ]]; then
    aws stepfunctions publish-state-machine-version --state-machine-arn "$1" --description "$3" \
      --query stateMachineVersionArn --output text
  else
    aws stepfunctions update-state-machine --state-machine-arn "$1" --definition "file://$2" --publish \
      --version-description "$3" --query stateMachineVersionArn --output text
  fi
}
