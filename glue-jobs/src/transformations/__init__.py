"""Pure functions from DataFrame to DataFrame, in the order that the job applies them."""
