// zlib as the distribution has it, from zlib1g-dev: the headers for Swift's importer.
#include <zlib.h>
