"""Records of work: run directories, events, provenance and seeds. Knows none of the other parts."""
