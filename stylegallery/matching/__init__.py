"""Match content regions to reference regions."""
