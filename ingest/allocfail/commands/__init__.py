"""The commands, a module each; every module's ``command`` is what the command line runs."""
