"""What a restart must not forget: open tracks, and a privacy pause."""
