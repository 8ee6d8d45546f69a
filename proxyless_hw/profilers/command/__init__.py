"""A device behind a user's own command."""
