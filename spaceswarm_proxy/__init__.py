"""The public names come here when they exist."""
