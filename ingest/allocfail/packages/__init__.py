"""What is installed, in the form in which each product's own installer takes it."""
