"""The bill of materials lists what a release carries, in CycloneDX's own terms."""

import json
import zipfile

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from ops.build.sbom import SBOM, bill

REQUESTS = "Metadata-Version: 2.4\nName: requests\nVersion: 2.32.5\n\nText.\n"


@pytest.fixture(name="root")
def fixture_root(tmp_path):
    (tmp_path / "lambdas").mkdir()
    for name in ("one", "two"):
        with zipfile.ZipFile(tmp_path / f"lambdas/{name}.zip", "w") as archive:
            archive.writestr("code.py", name)
            archive.writestr("requests-2.32.5.dist-info/METADATA", REQUESTS)
    (tmp_path / "config.json").write_text("{}")
    return tmp_path


def components(text):
    return {item["bom-ref"]: item for item in json.loads(text)["components"]}


def test_it_holds_to_the_standard(root):
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bill(root, "v1")) is None


def test_each_artifact_is_listed_with_its_digest(root):
    artifact = components(bill(root, "v1"))["artifact:config.json"]
    assert artifact["hashes"] == [
        {
            "alg": "SHA-256",
            "content": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
        }
    ]


def test_a_package_is_found_in_every_archive_that_carries_it(root):
    text = bill(root, "v1")
    assert components(text)["pkg:pypi/requests@2.32.5"]["version"] == "2.32.5"
    carriers = [
        item["ref"]
        for item in json.loads(text)["dependencies"]
        if "pkg:pypi/requests@2.32.5" in item.get("dependsOn", [])
    ]
    assert carriers == ["artifact:lambdas/one.zip", "artifact:lambdas/two.zip"]


def test_it_is_the_same_for_the_same_artifacts_and_another_for_others(root):
    first = bill(root, "v1")
    (root / SBOM).write_text(first)
    assert bill(root, "v1") == first
    (root / "config.json").write_text("[]")
    changed = bill(root, "v1")
    assert changed != first
    assert json.loads(changed)["serialNumber"] != json.loads(first)["serialNumber"]
