package aside

import "unsafe"

const supported = true

// clone starts a process on a stack (clone(2)), which makes the system calls of a table. pid is negative for an error: -errno.
//
//go:noescape
func clone(flags uintptr, stack, calls unsafe.Pointer, pidfd *int32) (pid int)
