"""What the machine decides, not the table: settings, signing keys, scratch space."""
