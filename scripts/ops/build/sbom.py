"""The software bill of materials of a release, as CycloneDX JSON.

It names each artifact with its SHA-256 and each Python package that an archive carries besides our
own code: what to search when a package turns out to be vulnerable. The same artifacts give the same
bytes, so it has no timestamp, and its serial number follows from what it lists.
"""

import argparse
import email
import sys
import uuid
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from ops.build.manifest import artifacts, sha256

SBOM = "sbom.cdx.json"
PROJECT = "retail-pipeline"
ARCHIVES = (".zip", ".whl")


def bill(root: Path, version: str) -> str:
    """Return the bill of the artifacts below `root` as JSON."""
    bom = Bom()
    release = Component(
        name=PROJECT, version=version, type=ComponentType.APPLICATION, bom_ref=f"release:{version}"
    )
    bom.metadata.component = release
    bom.metadata.timestamp = None
    listed, packages = [], {}
    for path in artifacts(root):
        if path == SBOM:
            continue
        artifact = _artifact(root / path, path)
        carried = []
        if path.endswith(ARCHIVES):
            for package in _packages(root / path):
                carried.append(packages.setdefault(package.bom_ref.value, package))
        bom.components.add(artifact)
        bom.register_dependency(artifact, carried)
        listed.append(artifact)
    bom.components.update(packages.values())
    bom.register_dependency(release, listed)
    content = " ".join([version, *(digest.content for item in listed for digest in item.hashes)])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, content)
    return JsonV1Dot6(bom).output_as_string(indent=2) + "\n"


def _artifact(file: Path, path: str) -> Component:
    digest = HashType(alg=HashAlgorithm.SHA_256, content=sha256(file))
    return Component(
        name=path, type=ComponentType.FILE, bom_ref=f"artifact:{path}", hashes=[digest]
    )


def _packages(archive: Path) -> Iterator[Component]:
    """Yield the packages that were installed into an archive; a wheel is one itself."""
    with zipfile.ZipFile(archive) as opened:
        for name in sorted(opened.namelist()):
            if not name.endswith(".dist-info/METADATA"):
                continue
            about = email.message_from_bytes(opened.read(name))
            purl = PackageURL("pypi", name=about["Name"], version=about["Version"])
            yield Component(
                name=about["Name"],
                version=about["Version"],
                type=ComponentType.LIBRARY,
                bom_ref=str(purl),
                purl=purl,
            )


def main() -> int:
    """Write the bill of materials of a release beside its artifacts."""
    parser = argparse.ArgumentParser(prog="python -m ops.build.sbom", description=__doc__)
    parser.add_argument("--version", required=True)
    parser.add_argument("root", type=Path, help="the release's folder")
    arguments = parser.parse_args()
    text = bill(arguments.root, arguments.version)
    (arguments.root / SBOM).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
