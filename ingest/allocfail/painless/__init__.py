"""The ingest pipelines: made from their definitions, Painless and the facts."""
