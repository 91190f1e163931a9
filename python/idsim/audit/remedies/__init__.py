"""What can be done about leaks: lists of synthetic images without them."""
