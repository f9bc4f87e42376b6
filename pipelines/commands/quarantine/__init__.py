"""Where batches are: accepted, quarantined, released for another try, or dropped; each in exactly one state."""
