"""What the board tells about itself: watts, heat, throttling, clocks. Files below a root folder, and programs."""
