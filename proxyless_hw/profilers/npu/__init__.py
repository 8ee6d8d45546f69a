"""NPUs, by the estimate of their vendor's compiler."""
