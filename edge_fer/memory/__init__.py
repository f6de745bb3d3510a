"""What a restart must not forget: where it is kept, and a privacy pause."""
