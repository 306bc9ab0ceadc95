"""Which content region takes its style from which reference regions."""
