//go:build goexperiment.runtimesecret

package storage

import runtime "runtime/secret"

// Erases says that Guard leaves nothing behind: this build has the runtime's experiment of that name.
const Erases = true

// Guard runs f, a use of a key. What f leaves in registers and on the stack is erased when it returns, what it leaves on the heap when the collector finds that
// nothing refers to it; both only where Erases is true. A goroutine that f starts is not covered.
func Guard(f func()) { runtime.Do(f) }
