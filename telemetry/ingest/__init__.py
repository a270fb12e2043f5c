"""What becomes of a message between broker and archive, and of what is not archived."""
