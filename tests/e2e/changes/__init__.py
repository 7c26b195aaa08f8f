"""What make plan and make drift say of an environment, and that they change nothing."""
