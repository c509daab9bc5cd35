"""The proxy protocol: its frames and events, the streams of a link, and the two ends of one."""
