"""The running service of a site, and what runs it on trial: demo and back-test."""
