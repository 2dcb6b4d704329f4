"""What an image is made of, for programs that look for known faults: SPDX 2.3 in JSON (spdx.github.io/spdx-spec). Pure.

Licences aren't in it: Debian states them in each package's `copyright` file, mostly in prose.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote

from vm_images.debian.packages import Package

MEDIA_TYPE = "application/spdx+json"
_IMAGE = "SPDXRef-image"
_FOREIGN = re.compile(r"[^A-Za-z0-9.]")


@dataclass(frozen=True, slots=True)
class Subject:
    """The image. `inputs` is the digest of all that it was made from."""

    reference: str
    release: str
    architecture: str
    epoch: int
    inputs: str


def encode_sbom(subject: Subject, packages: Iterable[Package]) -> bytes:
    """The same image gives the same bytes."""
    listed = [_describe(subject, package) for package in sorted(packages, key=lambda it: it.name)]
    image = {"SPDXID": _IMAGE, "name": subject.reference, "primaryPackagePurpose": "CONTAINER", **_UNSAID}
    document = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": subject.reference,
        "documentNamespace": f"urn:hostvm:sbom:{subject.inputs}",
        "creationInfo": {
            "created": datetime.fromtimestamp(subject.epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "creators": ["Tool: hostvm-bootstrap"],
        },
        "packages": [image, *listed],
        "relationships": [
            _relate("SPDXRef-DOCUMENT", "DESCRIBES", _IMAGE),
            *(_relate(_IMAGE, "CONTAINS", str(it["SPDXID"])) for it in listed),
        ],
    }
    return json.dumps(document, indent=1).encode() + b"\n"


_UNSAID = {"downloadLocation": "NOASSERTION", "filesAnalyzed": False}


def _describe(subject: Subject, package: Package) -> dict[str, object]:
    return {
        "SPDXID": f"SPDXRef-{package.sha256[:12]}-{_FOREIGN.sub('-', package.name)}",
        "name": package.name,
        "versionInfo": package.version,
        "supplier": "Organization: Debian",
        "checksums": [{"algorithm": "SHA256", "checksumValue": package.sha256}],
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": _purl(subject, package),
            }
        ],
        **_UNSAID,
    }


def _purl(subject: Subject, package: Package) -> str:
    """github.com/package-url/purl-spec, type `deb`."""
    version = quote(package.version, safe="")
    architecture = "all" if package.filename.endswith("_all.deb") else subject.architecture
    return f"pkg:deb/debian/{quote(package.name)}@{version}?arch={architecture}&distro={subject.release}"


def _relate(element: str, kind: str, related: str) -> dict[str, str]:
    return {"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related}
