"""Adds the page's npm libraries to a CycloneDX SBOM: `python -m infra.bundle.bill_of_materials SBOM LOCK`.

cyclonedx-py lists the zip's Python packages. The zip also contains the page, built from the libraries that
web/package-lock.json locks. The build tools are not in the zip and not in the SBOM.
"""

import base64
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

ALGORITHMS = {"sha256": "SHA-256", "sha384": "SHA-384", "sha512": "SHA-512"}  # npm's names, CycloneDX's names


def components(lock: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The page's libraries as CycloneDX components, sorted by name."""
    shipped = [
        (path.rpartition("node_modules/")[2], package)
        for path, package in lock["packages"].items()
        if path and not package.get("dev")
    ]
    return [_component(name, package) for name, package in sorted(shipped, key=lambda entry: entry[0])]


def _component(name: str, package: Mapping[str, Any]) -> dict[str, Any]:
    scope, _, short = name.rpartition("/")
    purl = f"pkg:npm/{quote(name, safe='/')}@{package['version']}"
    algorithm, _, digest = package["integrity"].partition("-")
    return {
        "type": "library",
        "bom-ref": purl,
        **({"group": scope} if scope else {}),
        "name": short,
        "version": package["version"],
        "purl": purl,
        "licenses": [{"license": {"id": package["license"]}}],
        "hashes": [{"alg": ALGORITHMS[algorithm], "content": base64.b64decode(digest).hex()}],
    }


def with_page(sbom: Mapping[str, Any], lock: Mapping[str, Any]) -> dict[str, Any]:
    """`sbom` with the page's libraries appended to its components."""
    return {**sbom, "components": [*sbom.get("components", []), *components(lock)]}


def main(arguments: list[str]) -> int:
    """Rewrite the SBOM file in place. Returns the exit code."""
    sbom, lock = map(Path, arguments)
    complete = with_page(json.loads(sbom.read_text(encoding="utf-8")), json.loads(lock.read_text(encoding="utf-8")))
    sbom.write_text(json.dumps(complete, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
