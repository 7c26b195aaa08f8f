"""make audit asks about every locked package, and no answer is no pass; OSV is a stand-in."""

import http.server
import json
import os
import subprocess
import threading

import pytest
from tests.conftest import REPOSITORY, free_port

VULNERABLE = "urllib3"
FOUND = {
    "vulns": [
        {
            "id": "TEST-2026-1",
            "summary": "Made up for this test",
            "affected": [{"package": {"name": VULNERABLE, "ecosystem": "PyPI"}}],
        }
    ]
}


class Osv(http.server.BaseHTTPRequestHandler):
    """Knows one vulnerability if its server says so; remembers what it was asked about."""

    def do_POST(self):  # pylint: disable=invalid-name  # as http.server wants it
        """Answer one query."""
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = query["package"]["name"]
        self.server.asked.add(name)
        answer = FOUND if name == self.server.vulnerable else {}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):  # pylint: disable=arguments-differ
        """Say nothing."""


@pytest.fixture(name="osv")
def fixture_osv():
    """A database of vulnerabilities that knows none."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Osv) as server:
        server.asked, server.vulnerable = set(), ""
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def audit(port):
    """Run the audit against a database on this machine."""
    return subprocess.run(
        [REPOSITORY / "scripts/audit.sh"],
        env=os.environ | {"PIP_AUDIT_OSV_URL": f"http://127.0.0.1:{port}/v1/query"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_every_locked_package_is_asked_about(osv):
    done = audit(osv.server_port)
    assert done.returncode == 0, done.stderr
    assert {"boto3", "pyspark", "ministack", "awslambdaric", "uv", "pytest"} < osv.asked


def test_a_known_vulnerability_fails_it_and_is_named(osv):
    osv.vulnerable = VULNERABLE
    done = audit(osv.server_port)
    assert done.returncode == 1
    assert "TEST-2026-1" in done.stdout
    assert "not passed: dev.txt" in done.stderr and "glue.txt" in done.stderr


def test_a_database_that_cannot_be_reached_fails_it():
    done = audit(free_port())
    assert done.returncode == 1
    every = "bench.txt dev.txt glue.txt lambda.txt localaws.txt quality.txt uv.txt"
    assert f"not passed: {every}" in done.stderr
