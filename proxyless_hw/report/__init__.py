"""What a run asked for and what came out, as one HTML file and as pictures."""
