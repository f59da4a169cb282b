"""The list of fields that Kibana 7.10 and OpenSearch Dashboards keep with a data view, out of what a cluster says.

A page asks for the list where there is none, and fails where one of the view's patterns matches nothing. So the list
comes with the view: the mappings' own fields, and those of the indices that documents come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from allocfail.cluster.client import path

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from allocfail.cluster.client import Engine

__all__ = ["NOT_AGGREGATABLE", "described", "descriptor", "fields_of", "page_type"]

#: What a page calls a mapping type (`castEsToKbnFieldTypeName`, src/plugins/data/common/kbn_field_types).
_PAGE_TYPES = {
    **dict.fromkeys(["keyword", "text", "match_only_text", "wildcard", "constant_keyword", "version"], "string"),
    **dict.fromkeys(
        ["long", "integer", "short", "byte", "double", "float", "half_float", "scaled_float", "unsigned_long"], "number"
    ),
    **dict.fromkeys(["date", "date_nanos"], "date"),
    **dict.fromkeys(["boolean", "ip", "geo_point", "geo_shape"]),
}
#: Mapping types whose values are not kept by column, so that a page can't count by them.
NOT_AGGREGATABLE = frozenset({"text", "match_only_text"})


def page_type(mapped: str) -> str | None:
    """Return what a page calls a mapping type; None for one that older pages do not know."""
    return (_PAGE_TYPES[mapped] or mapped) if mapped in _PAGE_TYPES else None


def descriptor(
    name: str,
    kind: str,
    mapped: Iterable[str],
    *,
    searchable: bool,
    aggregatable: bool,
    columns: bool,
    parent: str | None = None,
) -> dict[str, Any]:
    """Return a field as a page keeps it in its list (``IFieldType``, data/common/index_patterns/fields).

    ``mapped`` are its mapping types; ``columns`` says whether its values can be had by column in every index;
    ``parent`` is the field that it is a multi-field of.
    """
    types = list(mapped)
    return {
        "name": name,
        "type": kind,
        **({"esTypes": types} if types else {}),
        "count": 0,
        "scripted": False,
        "searchable": searchable,
        "aggregatable": aggregatable,
        "readFromDocValues": aggregatable and columns,
        **({} if parent is None else {"subType": {"multi": {"parent": parent}}}),
    }


def fields_of(engine: Engine, names: Iterable[str]) -> list[dict[str, Any]]:
    """Return the fields of the indices ``names``, as a page describes them; those that are not there have none."""
    asked = ",".join(names)
    if not asked:
        return []
    target = f"{path(asked, '_field_caps')}?fields=*&ignore_unavailable=true&allow_no_indices=true"
    answer = engine.request("GET", target, missing_ok=True) or {}
    return list(described(answer.get("fields") or {}))


def described(caps: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> Iterator[dict[str, Any]]:
    """Yield a descriptor for each field of an answer of ``_field_caps``.

    Left out: objects, what documents have without a mapping, types that no page knows, and what is mapped here as one
    kind of thing and there as another.
    """
    for name, kinds in caps.items():
        pages = {page_type(kind) for kind in kinds if kind != "unmapped"}
        if name.startswith("_") or len(pages) != 1 or None in pages:
            continue
        [page] = pages
        usable = [one for kind, one in kinds.items() if kind != "unmapped"]
        aggregatable = all(one["aggregatable"] for one in usable)
        above = name.rpartition(".")[0]
        is_multi = above in caps and not {"object", "nested"} & caps[above].keys()
        yield descriptor(
            name,
            str(page),
            [kind for kind in kinds if kind != "unmapped"],
            searchable=all(one["searchable"] for one in usable),
            aggregatable=aggregatable,
            columns=True,
            parent=above if is_multi else None,
        )
