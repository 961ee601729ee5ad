// Package container finds a container by what people call it, and the network namespace it runs in. It asks containerd, in
// all of containerd's namespaces, and CNI's result cache, which knows the containers of every other runtime that are on a
// network already. A container may also be any process (pid:N) or a namespace bound to a file (netns:PATH).
//
// Root is needed, for containerd's socket as for the namespaces of processes.
package container
