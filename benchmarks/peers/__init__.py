"""What we are compared with: the usual server around the same model, and the limits. Run in environments of their own."""
