"""The manifest of a release: what each artifact is (sha256, size) and the commit it comes from.

`create` writes manifest.json into a folder of artifacts; `verify` compares the folder with it.
The same artifacts from the same commit give the same manifest, byte for byte. `sources` is the
version that the sources have, also where the release was given another name.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path, PurePosixPath
from typing import Any

from ops.build.version import REPOSITORY, VersionError, git, read_sources

MANIFEST = "manifest.json"

# Which sources an artifact is made from; the first pattern that matches counts. {stem} is the
# artifact's name.
SOURCES_OF = (
    ("glue/etl_main.py", ("glue-jobs/src/etl_main.py",)),
    ("glue/*.whl", ("glue-jobs/src", "glue-jobs/setup.py")),
    ("lambdas/*.zip", ("lambdas/{stem}/src", "lambdas/{stem}/requirements.txt")),
    ("layers/*.zip", ("lambdas/layers/{stem}",)),
    ("step-functions/*.asl.json", ("step-functions/{name}",)),
    ("cloudformation/*.yaml", ("cloudformation/{name}",)),
    ("config/*.json", ("config/common", "config/{stem}")),
    ("sbom.cdx.json", ("glue-jobs", "lambdas")),
)


class ManifestError(Exception):
    """The folder and its manifest disagree; the message has a line for each artifact at fault."""


def create(root: Path, version: str, repository: Path = REPOSITORY) -> dict[str, Any]:
    """Write and return the manifest of the artifacts below `root`.

    Raises ManifestError for a file that no pattern knows, VersionError outside a git checkout.
    """
    sources = read_sources(repository)
    manifest = {
        "version": version,
        "sources": sources.version,
        "commit": sources.commit,
        "dirty": bool(sources.changes),
        "artifacts": [
            {
                "path": path,
                "sha256": sha256(root / path),
                "size": (root / path).stat().st_size,
                "commit": _last_commit(path, repository),
            }
            for path in artifacts(root)
        ],
    }
    (root / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return manifest


def read(root: Path) -> dict[str, Any]:
    """Return the manifest of `root`; raise ManifestError where there is none."""
    try:
        return json.loads((root / MANIFEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ManifestError(f"{root}: there is no {MANIFEST}; run: make build") from None
    except ValueError as error:
        raise ManifestError(f"{root / MANIFEST}: not JSON: {error}") from error


def verify(root: Path) -> dict[str, Any]:
    """Return the manifest of `root` once every artifact matches it; else raise ManifestError."""
    manifest = read(root)
    expected = {artifact["path"]: artifact for artifact in manifest["artifacts"]}
    found = set(artifacts(root))
    faults = [f"{path}: in the manifest but not there" for path in expected.keys() - found]
    faults += [f"{path}: there but not in the manifest" for path in found - expected.keys()]
    faults += [
        f"{path}: sha256 is {digest}, the manifest says {expected[path]['sha256']}"
        for path in expected.keys() & found
        if (digest := sha256(root / path)) != expected[path]["sha256"]
    ]
    if faults:
        raise ManifestError("\n".join(f"{root}/{fault}" for fault in sorted(faults)))
    return manifest


def sha256(file: Path) -> str:
    """Return a file's SHA-256 in hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def artifacts(root: Path) -> list[str]:
    """Return the paths of a release's artifacts, sorted."""
    paths = (path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())
    return sorted(path for path in paths if path != MANIFEST)


def _last_commit(artifact: str, repository: Path) -> str:
    """Return the last commit that touched the artifact's sources; empty when none has yet."""
    path = PurePosixPath(artifact)
    for pattern, sources in SOURCES_OF:
        if path.match(pattern):
            paths = [source.format(stem=path.stem, name=path.name) for source in sources]
            return git("log", "-1", "--format=%H", "--", *paths, repository=repository).strip()
    raise ManifestError(f"{artifact}: no artifact of a release; remove it or name its sources")


def main() -> int:
    """Create or verify a manifest."""
    parser = argparse.ArgumentParser(prog="python -m ops.build.manifest", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("create").add_argument("--version", required=True)
    commands.add_parser("verify")
    for command in commands.choices.values():
        command.add_argument("root", type=Path)
    arguments = parser.parse_args()
    try:
        if arguments.command == "create":
            create(arguments.root, arguments.version)
        else:
            verify(arguments.root)
    except (ManifestError, VersionError) as error:
        print(f"manifest: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
