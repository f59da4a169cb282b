"""Everything that talks to a search cluster: pipelines, templates and saved objects put there, events sent there."""
