// Package doctor looks for what usually breaks the networks of a host, and says how to mend it. Each check is a function of
// its own with a stable name. None changes the host: what a kernel can do is tried in a network namespace that goes with
// the thread that made it.
//
// It needs CAP_NET_ADMIN and CAP_SYS_ADMIN, and runs in the host's network namespace.
package doctor
