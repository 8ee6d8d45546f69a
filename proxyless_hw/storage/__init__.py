"""What is stored and read: bounded documents, atomic files, locks, tensor files."""
