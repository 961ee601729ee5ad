package snapshot

import (
	"net/netip"
	"strings"
)

// Host is what one host holds.
type Host struct {
	Hostname string
	Namespace
	// Others are the namespaces that are connected with the host, or whose path the caller knew.
	Others []Namespace

	at map[string]int // position in Others by path; nil: they are looked through
}

// Namespace is what one network namespace holds.
type Namespace struct {
	// Paths lead to the namespace: first those that the caller knew. Empty for the host's own.
	Paths []string
	// Process is the name and the number of one that is inside, where no path but that of a process leads there.
	Process string
	// ID is by which links of the host refer to the namespace (ip netns list-id); None when none does.
	ID     int
	Links  []Link
	Routes []Route // of the table main
	// Neighbours and Forwards are the entries of VXLAN devices alone.
	Neighbours []Neighbour
	Forwards   []Forward

	places *places // of Links; nil: they are looked through
}

// places are where in a list of links one is.
type places struct {
	named   map[string]int
	indexed map[int]int
}

// index makes links be found without looking through all of them: a host has thousands, and asks for each.
func (n *Namespace) index() {
	n.places = &places{named: make(map[string]int, len(n.Links)), indexed: make(map[int]int, len(n.Links))}
	for at, l := range n.Links {
		n.places.named[l.Name], n.places.indexed[l.Index] = at, at
	}
}

// None is the number of a namespace that has none.
const None = -1

// Link is a network interface.
type Link struct {
	Index int
	Name  string
	Alias string
	// Kind is that of ip link: bridge, veth, macvlan, vxlan …; device for hardware, loopback for lo.
	Kind string
	MAC  string
	MTU  int // bytes
	Up   bool
	// Running: it is up, and has a carrier as far as it knows of one.
	Running bool
	Group   int
	Addrs   []netip.Prefix
	// Master is the index of the bridge that the link is a port of, 0 for none.
	Master int
	// Isolated: the port reaches no other isolated port (bridge link … isolated on).
	Isolated bool
	// Lower is the index of the link that this one stands on, or of a veth's other end, 0 for none.
	Lower int
	// LowerIn is the ID of the namespace in which Lower lies, None for this one.
	LowerIn int
	Mode    string // of a macvlan
	VXLAN   VXLAN  // of a vxlan
}

// VXLAN is what is special about a VXLAN device.
type VXLAN struct {
	VNI   int
	Local netip.Addr // zero: any address
	Port  int        // UDP
	Group netip.Addr // multicast group, or the only peer; zero: none
}

// Route is a route of one next hop.
type Route struct {
	Dst      netip.Prefix // of length 0: the default route
	Via      netip.Addr   // zero: on the link
	Link     int          // index, 0 for a route that leads nowhere
	Kind     string       // unicast, unreachable, blackhole, prohibit
	Protocol int          // of rtnetlink: 2 kernel, 3 boot, 4 static …
	Priority int
}

// Neighbour is who has an address on a link.
type Neighbour struct {
	Link int
	Addr netip.Addr
	MAC  string
}

// Forward is where a VXLAN device sends frames for a MAC.
type Forward struct {
	Link int
	MAC  string
	To   netip.Addr
}

// Default says whether the route is one to everywhere.
func (r Route) Default() bool { return r.Dst.Bits() == 0 && r.Kind == "unicast" }

// Link finds a link by its name.
func (n Namespace) Link(name string) (Link, bool) {
	if n.places != nil {
		at, ok := n.places.named[name]
		if !ok {
			return Link{}, false
		}
		return n.Links[at], true
	}
	for _, l := range n.Links {
		if l.Name == name {
			return l, true
		}
	}
	return Link{}, false
}

// LinkAt finds a link by its index.
func (n Namespace) LinkAt(index int) (Link, bool) {
	if n.places != nil {
		at, ok := n.places.indexed[index]
		if !ok {
			return Link{}, false
		}
		return n.Links[at], true
	}
	for _, l := range n.Links {
		if l.Index == index {
			return l, true
		}
	}
	return Link{}, false
}

// Defaults are the routes to everywhere, the preferred one of each family first.
func (n Namespace) Defaults() []Route {
	var routes []Route
	for _, r := range n.Routes {
		if r.Default() {
			routes = append(routes, r)
		}
	}
	return routes
}

// Global are the addresses of the link that other hosts can use: without link-local ones and those of the host alone.
func (l Link) Global() []netip.Prefix {
	var global []netip.Prefix
	for _, a := range l.Addrs {
		if !a.Addr().IsLinkLocalUnicast() && !a.Addr().IsLoopback() {
			global = append(global, a)
		}
	}
	return global
}

// Owned says whether fairway made the link for an attachment, by its alias "fairway NETWORK CONTAINER IFNAME".
func (l Link) Owned() bool { return strings.HasPrefix(l.Alias, "fairway ") }

// At finds the namespace that a path leads to.
func (h Host) At(path string) (Namespace, bool) {
	if h.at != nil {
		i, ok := h.at[path]
		if !ok {
			return Namespace{}, false
		}
		return h.Others[i], true
	}
	for _, n := range h.Others {
		for _, p := range n.Paths {
			if p == path {
				return n, true
			}
		}
	}
	return Namespace{}, false
}
