"""Fuzzers: minutes of hostile input, by ``make fuzz``; ``test_fuzz`` runs each for some seconds."""
