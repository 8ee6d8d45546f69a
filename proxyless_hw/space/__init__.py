"""What a network is made of: ops, spaces and architectures; their counts."""
