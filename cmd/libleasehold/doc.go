// Libleasehold is the SDK as a shared library for programs that are not written in Go: leasehold.h says what it offers, sample/sample.c uses all of it.
//
// Only the files that know C need cgo; where that is switched off, as for all programs that are shipped, they are left out and nothing links them. It is no module of
// its own, as freehold-token is, because it needs nothing that the SDK does not: a module would name the SDK by a replacement, and all of its dependencies again.
//
//	make lib    # bin/libleasehold.so, bin/leasehold.h
package main

func main() {}
