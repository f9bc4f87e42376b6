"""Where a fleet serves, and what it is to be: settings, and the state."""
