"""What people see on the terminal beside a result: progress, notices, quiet libraries."""
