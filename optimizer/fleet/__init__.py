"""A fleet: sites that share work, each deciding for itself at prices of what moves."""
