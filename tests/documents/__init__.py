"""The commands of the documents, read from them and typed on fresh machines (``make documents``)."""
