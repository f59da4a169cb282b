"""What the packages of both products are put together from: files in memory, texts, examples."""

from __future__ import annotations

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

from allocfail.cluster import templates
from allocfail.content import content_path
from allocfail.decoder.enrich import enrich
from allocfail.decoder.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ICON", "changes", "examples", "introduction", "json_text", "zipped"]

#: A release's heading in the changelog.
_RELEASE = re.compile(r"^## \[(\d+\.\d+\.\d+)\]$", re.MULTILINE)
#: The time of an example's document: the year of a log line that names none.
_WHEN = "2026-01-15T00:00:00.000Z"
#: A page of memory, and one that is missing.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="32" height="32" viewBox="0 0 32 32">'
    '<g fill="#0077cc"><rect x="2" y="2" width="8" height="8"/><rect x="12" y="2" width="8" height="8"/>'
    '<rect x="22" y="2" width="8" height="8"/><rect x="2" y="12" width="8" height="8"/>'
    '<rect x="22" y="12" width="8" height="8"/><rect x="2" y="22" width="8" height="8"/>'
    '<rect x="12" y="22" width="8" height="8"/><rect x="22" y="22" width="8" height="8"/></g>'
    '<rect x="13" y="13" width="6" height="6" fill="none" stroke="#bd271e" stroke-width="2"/></svg>\n'
)


def json_text(value: Any) -> str:
    """Return JSON for a file."""
    return json.dumps(value, ensure_ascii=False, indent=2) + "\n"


def introduction() -> str:
    """Return what the README says before its first picture: what this is, in Markdown."""
    text = content_path("README.md").read_text(encoding="utf-8")
    return text.partition("\n")[2].partition("\n![")[0].strip()


def changes() -> list[tuple[str, list[str]]]:
    """Return each release of the changelog, the newest first, with what changed in it."""
    text = content_path("CHANGELOG.md").read_text(encoding="utf-8")
    parts = _RELEASE.split(text)[1:]
    found = []
    for version, body in zip(parts[::2], parts[1::2], strict=True):
        entries = re.findall(r"^- (.+(?:\n  .+)*)", body, re.MULTILINE)
        found.append((version, [" ".join(entry.split()) for entry in entries]))
    return found


def examples(kb_url: str) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield documents with an event of each kind as a shipper sends them, and what the pipeline makes of each.

    ``kb_url`` is where the articles are, as :func:`allocfail.urls.base_url` gives it.
    """
    sample = content_path("samples/svn3-centos6.log").read_text(encoding="utf-8").rstrip("\n")
    for number, text in enumerate([*(probe["message"] for probe in templates.probes()), sample]):
        document = {"@timestamp": _WHEN, "message": text.replace("allocfail-probe kernel:", f"node{number} kernel:")}
        yield document, enrich(document, Options(kb_url=kb_url)) or document


def zipped(files: Mapping[str, str | bytes], root: str) -> bytes:
    """Return an archive of files below a folder ``root``; of the same files always the same bytes."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in sorted(files.items()):
            entry = zipfile.ZipInfo(f"{root}/{name}")  # of 1980, the earliest time that an archive has
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return out.getvalue()
