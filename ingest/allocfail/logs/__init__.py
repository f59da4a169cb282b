"""Logs in, events out: files and streams opened, searched for the few places that matter, and handed to the decoder."""
