// The header stands alone, as C. Its functions are written in Swift, where the compiler holds each
// one against its declaration there: Interface.swift.
#include "sluice.h"
