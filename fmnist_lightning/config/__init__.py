"""Is this command line valid? Composing, valid values, this machine, how errors are reported. Imports no torch."""
