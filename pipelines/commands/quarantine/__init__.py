"""The state of every batch: accepted, quarantined, released for another try, or dropped."""
