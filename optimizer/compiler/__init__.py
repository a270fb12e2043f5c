"""From a model to arrays: once for every shape; then numbers go straight into their slots."""
