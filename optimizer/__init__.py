"""The question, the model, the verdict and the service."""
