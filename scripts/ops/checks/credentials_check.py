"""Finds credentials in a configuration file: keys, passwords, tokens, connection strings."""

from pathlib import Path

from detect_secrets import SecretsCollection
from detect_secrets.settings import transient_settings

# By their form, and by the name of what they are the value of. Those that guess by entropy alone
# are left out: the configuration has long regular expressions.
DETECTORS = (
    "AWSKeyDetector",
    "BasicAuthDetector",
    "GitHubTokenDetector",
    "JwtTokenDetector",
    "KeywordDetector",
    "PrivateKeyDetector",
    "SlackDetector",
)


def findings(file: Path) -> list[str]:
    """Return each line that looks like a credential, without showing it."""
    with transient_settings({"plugins_used": [{"name": name} for name in DETECTORS]}):
        secrets = SecretsCollection()
        secrets.scan_file(str(file))
    return sorted(f"{file.name}, line {found.line_number}: {found.type}" for _, found in secrets)
