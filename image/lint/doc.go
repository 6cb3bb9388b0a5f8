// Package lint looks at a built image without booting it: its partitions, what is in its root and what is not, its kernel command line, its size and its bill of
// materials. It reads what is shipped, and nothing that the build left beside it. Run: make -C image lint.
package lint
