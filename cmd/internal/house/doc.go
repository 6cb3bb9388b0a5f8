// Package house holds no code: its tests read the source files of the whole module and keep the rules of the house, such as who may import whom.
//
// They parse files and never ask the build, whose cached answer could hide a change.
package house
