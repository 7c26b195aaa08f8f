"""The Jenkinsfile, run unmodified: docs/pipeline.md says what that proves."""
