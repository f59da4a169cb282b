"""What differs between the products that a cluster may run, in one table; everything above speaks to both alike."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["PRODUCTS", "Product", "recognise"]


class Product(NamedTuple):
    """One product, as far as it is not like the other."""

    name: str
    """As ``--engine`` takes it."""
    oldest: int
    """First major version that its client can talk to."""
    refusal: str
    """Words of its security when it lets nobody see the version: who may only write is told no more than that."""


PRODUCTS = {
    product.name: product
    for product in (
        Product(
            "elasticsearch",
            oldest=8,  # the client needs the media types that 8.0 brought in
            refusal="is granted by the cluster privileges [",
        ),
        Product(
            "opensearch",
            oldest=1,
            refusal="no permissions for [cluster:monitor/main]",
        ),
    )
}


def recognise(status: int, body: Any) -> tuple[Product, str] | None:
    """Return product and version of who answered ``GET /`` with this HTTP status and JSON; None for anybody else.

    The version is empty where the user may not see it.
    """
    if status == 403:
        return next(((one, "") for one in PRODUCTS.values() if one.refusal in str(body)), None)
    version = body.get("version") if isinstance(body, dict) else None
    if status != 200 or not isinstance(version, dict) or not isinstance(version.get("number"), str):
        return None
    name = "opensearch" if version.get("distribution") == "opensearch" else "elasticsearch"
    return PRODUCTS[name], version["number"]
