"""A backup of an environment, and the way back to it, whatever was deleted or changed since."""
