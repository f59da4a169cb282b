"""The knowledge base: articles found, rendered, served, and looked up for an event."""
