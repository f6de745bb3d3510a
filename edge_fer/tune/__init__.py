"""What is fastest or cheapest on this board: measured, remembered, and what the choice "auto" then means."""
