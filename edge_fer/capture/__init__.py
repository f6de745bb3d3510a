"""One camera URI -> frames."""
