// Package snapshot reads what the kernel of a host holds at one moment, as plain facts: links, addresses, routes, and what
// lies in the network namespaces of its containers. It changes nothing.
//
// The host is the network namespace that the process runs in. Namespaces of containers are found by the paths a caller
// knows, in the directories where runtimes bind them, and by the processes in them. Reading another namespace takes
// CAP_SYS_ADMIN; one that cannot be entered is left out.
package snapshot
