"""The ingest pipelines: the decoder compiled to Painless, put together with their definitions, the kit and the facts.

mypy reads the Python (``sources``); ``statements``, ``loops``, ``expressions`` and ``calls`` translate it, ``regex``
its patterns; ``scripts`` makes a script of each step, ``pipelines`` what an engine is given.
"""
