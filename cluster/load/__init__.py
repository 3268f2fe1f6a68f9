"""A load generator for any RTMP server: publishers and players by the thousand, and what they saw."""
