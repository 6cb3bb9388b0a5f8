// Package browser has no code of its own: its test starts a real back office and walks through its portal in a headless browser, as an operator and a customer do, with scripts and without.
//
// The walks are in walk.mjs, and what they need is in package.json; make deps installs it. Screenshots of every page are left in bin/browser.
package browser
