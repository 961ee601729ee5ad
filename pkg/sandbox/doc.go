// Package sandbox runs a command in namespaces of its own, attached to networks, as a container runtime would, and leaves
// nothing of it afterwards, however it ends.
//
// Run starts two processes of the program it is part of, which is why that calls Enter first:
//
//	Run ──┬── keeper            holds the network namespace; ADD first, DEL when Run's process has gone
//	      └── init ── command   in its own mount, process and UTS namespaces
//
// The network namespace is bound to no file: it is the keeper's descriptor, and goes with the last process that has it. The
// keeper waits for the end of a pipe from Run's process, in a session of its own, so that its DEL also follows a SIGKILL of
// that one. The init process is killed by the kernel with Run's process, and takes all processes of the sandbox along. When it
// is the keeper that is killed, Run's process ends the command and detaches in its place.
//
// Root is needed.
package sandbox
