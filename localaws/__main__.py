"""``python -m localaws up|down|reset|status``: AWS on this machine."""

import argparse
import json
import sys

from localaws import daemon
from localaws.settings import Settings, SettingsError


def main() -> int:
    """Run one command; 0 when it did what it says, 1 when it could not, 3 when nothing runs."""
    parser = argparse.ArgumentParser(
        prog="python -m localaws",
        description=__doc__,
        epilog="Place and port come from LOCALAWS_HOME and LOCALAWS_PORT; see localaws/settings.py",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up", help="start it and wait until it is ready")
    commands.add_parser("down", help="stop it; its state is kept")
    commands.add_parser("reset", help="stop it and delete its state")
    commands.add_parser("status", help="print what runs as JSON; exit 3 when nothing does")
    command = parser.parse_args().command
    try:
        settings = Settings.from_environment()
        if command == "status":
            return _print_status(settings)
        print(getattr(daemon, command)(settings), file=sys.stderr)
    except (SettingsError, daemon.DaemonError) as error:
        print(f"localaws {command}: {error}", file=sys.stderr)
        return 1
    return 0


def _print_status(settings: Settings) -> int:
    status = daemon.status(settings)
    if status is None:
        print("Local AWS is not running", file=sys.stderr)
        return 3
    print(json.dumps(status, indent=2))
    return 0 if status["ready"] else 1


if __name__ == "__main__":
    sys.exit(main())
