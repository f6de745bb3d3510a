"""Care rules: what was seen over time -> alerts that explain themselves."""
