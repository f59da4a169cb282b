"""A server that refuses some bulk requests, or some of their documents, and keeps the others."""

from __future__ import annotations

import json
from typing import Any

from clusters import ROOTS


class Flaky:
    """A server that refuses some requests, or some documents, and keeps the others."""

    def __init__(self, product: str, *answers: Any) -> None:
        self.product = product
        self.answers = list(answers)
        self.kept: dict[str, Any] = {}
        self.requests = 0

    def __call__(self, _: str, target: str, body: bytes) -> tuple[int, Any]:
        if target == "/":
            return 200, ROOTS[self.product]
        if target.startswith("/x/_mget"):
            ids = json.loads(body)["ids"]
            found = [
                {"_id": one, "_index": "x", "found": one in self.kept, "_source": self.kept.get(one)} for one in ids
            ]
            return 200, {"docs": found}
        if target.startswith("/x/_mapping"):
            types = {"allocfail.kind": "keyword", "allocfail.order": "long", "allocfail.fingerprint.id": "keyword"}
            return 200, {"x": {"mappings": {name: {"mapping": {name: {"type": kind}}} for name, kind in types.items()}}}
        if not target.startswith("/_bulk"):
            return 200, {"indices": [{"name": "x"}], "aliases": [], "data_streams": []}
        self.requests += 1
        answer = self.answers.pop(0) if self.answers else 201
        if isinstance(answer, tuple):
            return answer
        lines = [json.loads(line) for line in body.splitlines()]
        items = []
        for at, (action, source) in enumerate(zip(lines[::2], lines[1::2], strict=True)):
            ((kind, meta),) = action.items()
            identifier = meta["_id"]
            status = answer(at) if callable(answer) else answer
            if status == 201 and kind == "create" and identifier in self.kept:
                status = 409
            item: dict[str, Any] = {"_id": identifier, "status": status}
            if status == 201:
                self.kept[identifier] = source
            else:
                item["error"] = {"type": "refused", "reason": "no"}
            items.append({kind: item})
        return 200, {"errors": True, "items": items}
