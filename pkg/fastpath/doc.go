// Package fastpath carries packets of overlay networks between a host's containers and the VXLAN device without the host's stack: by one BPF program at
// the ingress of the device and of the host's end of each container's veth.
//
// The program has no table of addresses. For each packet it asks the host's routes, as the stack would, where the packet goes and by which link its source
// is reached, so that it cannot send where the stack would not: what an address or a block belongs to now, the routes say, and a link that has gone has
// none. It adds what the chains say of such packets, that both links are of one network, and leaves to the stack all that is not plain: docs/fastpath.md
// lists it.
//
// Whether packets may pass by it at all is a lease, which the node agent renews as long as it has looked at what others have in the host's way of a packet.
// With the agent, the lease ends, and with that the fast path. It needs CAP_BPF and CAP_NET_ADMIN in the initial user namespace.
package fastpath
