"""infra/bundle/bill_of_materials.py: build/sbom.json lists the page's locked npm libraries, but not its build tools."""

import json
from pathlib import Path

from infra.bundle.bill_of_materials import components, main, with_page

LOCK = Path(__file__).parents[3] / "web" / "package-lock.json"


def test_the_libraries_of_the_page_are_listed_but_not_its_build_tools() -> None:
    lock = json.loads(LOCK.read_text(encoding="utf-8"))
    dependencies = json.loads(LOCK.with_name("package.json").read_text(encoding="utf-8"))["dependencies"]
    listed = {
        "/".join(filter(None, (component.get("group"), component["name"]))): component["version"]
        for component in components(lock)
    }
    assert listed == dependencies


def test_a_library_has_its_address_license_and_digest() -> None:
    package = {"version": "1.0.0", "license": "MIT", "integrity": "sha512-AAEC"}
    lock = {"packages": {"": {}, "node_modules/@scope/name": package, "node_modules/tool": {**package, "dev": True}}}
    [component] = components(lock)
    assert component["purl"] == "pkg:npm/%40scope/name@1.0.0"
    assert component["licenses"] == [{"license": {"id": "MIT"}}]
    assert component["hashes"] == [{"alg": "SHA-512", "content": "000102"}]


def test_the_libraries_of_the_page_follow_the_python_packages(tmp_path: Path) -> None:
    sbom = tmp_path / "sbom.json"
    sbom.write_text(json.dumps({"bomFormat": "CycloneDX", "components": [{"name": "boto3"}]}), encoding="utf-8")
    assert main([str(sbom), str(LOCK)]) == 0
    written = json.loads(sbom.read_text(encoding="utf-8"))
    assert written == with_page(
        {"bomFormat": "CycloneDX", "components": [{"name": "boto3"}]}, json.loads(LOCK.read_text(encoding="utf-8"))
    )
    assert written["components"][0]["name"] == "boto3"
