"""What a search and a training share."""
