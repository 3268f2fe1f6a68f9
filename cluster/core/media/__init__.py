"""Media as the cluster sees it: what a payload is, FLV tags, and the stream log with its cursors."""
