"""The HTTP interface to a cluster, for whoever operates it: any edge and any router may serve it."""
