"""A real OpenSearch node on this machine, and all of allocfail shown on it."""
