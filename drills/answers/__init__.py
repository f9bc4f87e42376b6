"""One answer for a row, by whichever protocol it is sent."""
