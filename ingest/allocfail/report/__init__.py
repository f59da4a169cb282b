"""What a person reads of an event, on a terminal or a page."""
