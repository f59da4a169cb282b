"""What understands an event, from a text to its document.

Plain typed Python that imports nothing from outside this room but the facts, so that it can be compiled for the ingest
pipelines.
"""
