"""How anything is timed: sessions, drift, estimates, stopping, the journal."""
