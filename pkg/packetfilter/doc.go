// Package packetfilter follows a packet through the chains of a host's firewalls, as their rules stand, and says what becomes of it. No
// packet is sent. A condition that only a real packet could decide, such as a rate, leaves the answer open, which is said as well.
//
// It reads the nftables of the namespace that the process runs in, and needs CAP_NET_ADMIN there. Rules of iptables-legacy come as text.
package packetfilter
