/* What the library says of itself. */
#include "vector.h"

/* The fingerprint of the files that it was built from (sources.py), by which it is recognized before it is loaded. */
const char NAME(sources)[] = SOURCES;

int NAME(width)(void) { return VL; }
