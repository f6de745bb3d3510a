"""What runs on a board: installs releases, watches over them, goes back. Python 3.6 and newer, no packages."""
