"""What a deploy, a promotion, a canary and a restore do to a whole environment: minutes each."""
