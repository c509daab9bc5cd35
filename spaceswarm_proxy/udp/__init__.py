"""UDP sockets in the reactor: datagrams one by one, in batches, and merged by the system."""
