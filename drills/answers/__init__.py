"""One answer, whichever way a row is sent."""
