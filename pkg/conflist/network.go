package conflist

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"strings"
	"time"

	"github.com/containernetworking/cni/libcni"
)

// Network is one network, as `docker network inspect` speaks of it.
type Network struct {
	Name string
	// ID is nerdctlID where the file has a valid one, and else the SHA-256 of the name, as nerdctl makes it: 64 hex digits.
	ID string
	// Driver is Docker's name of the first plugin: "null" for none, "overlay" for overlay-vxlan, and else the plugin's own.
	Driver string
	// Scope is "global" for an overlay, which reaches over several hosts, and else "local".
	Scope string
	// File is where the network was read from. Empty: predefined, and in no file.
	File string
	// Maker is Fairway or Nerdctl where the file says so, and else empty: made by hand, or by something else.
	Maker string
	// List is what libcni runs. Nil when ConfigOnly.
	List *libcni.NetworkConfigList
	// Link is the bridge or the parent on the host, as configured. Empty: the driver has none, or chooses one itself.
	Link string
	// HasGateway: Link has the gateways of the network's addresses.
	HasGateway bool

	Created time.Time // of a file that does not say, its time of modification; zero when predefined
	// Internal: no way out to other networks.
	Internal bool
	// Attachable and ConfigFrom are as asked for at creation. They change nothing about a container's attachment.
	Attachable bool
	ConfigFrom string
	// ConfigOnly: not a network, but a configuration for others to be created from. IPv6 says that those are to have an IPv6
	// subnet even if IPAM has none.
	ConfigOnly bool
	IPv6       bool
	NoIPv4     bool // those are to have no IPv4 subnet unless IPAM has one
	// Agent: the node agent's, on every host of the network.
	Agent   bool
	Labels  map[string]string // never nil
	Options map[string]string // of the driver, by Docker's names where there is one; never nil
	IPAM    IPAM
}

// Makers of networks that say so.
const (
	Fairway = "fairway"
	Nerdctl = "nerdctl"
)

// IPAM is how containers of a network get addresses.
type IPAM struct {
	// Driver is "default" for host-local and for the overlay's own, "null" for none, and else the plugin's type.
	Driver  string
	Options map[string]string // nil: none
	Pools   []Pool            // empty: unknown, or none
}

// Pool is one subnet and what of it is set aside. It is Docker's IPAM configuration.
type Pool struct {
	Subnet netip.Prefix `json:"subnet"`
	// Range is the part of the subnet that containers get addresses of. Zero: all of it.
	Range   netip.Prefix `json:"ipRange,omitzero"`
	Gateway netip.Addr   `json:"gateway,omitzero"` // zero: none
	// Aux are addresses that belong to something else, by name. No container gets one.
	Aux map[string]netip.Addr `json:"auxAddresses,omitempty"`
}

// Predefined says whether the network is one of bridge, host and none, which are always there and cannot be removed.
func (n Network) Predefined() bool { return IsPredefined(n.Name) }

// Has6 says whether containers get IPv6 addresses.
func (n Network) Has6() bool { return n.IPAM.has(netip.Addr.Is6) }

// Has4 says whether containers get IPv4 addresses.
func (n Network) Has4() bool { return n.IPAM.has(netip.Addr.Is4) }

func (i IPAM) has(family func(netip.Addr) bool) bool {
	for _, pool := range i.Pools {
		if family(pool.Subnet.Addr()) {
			return true
		}
	}
	return false
}

// ShortID is the first twelve digits of the ID, as Docker shows it.
func (n Network) ShortID() string { return n.ID[:12] }

// IDOf is the ID of a network of that name: its SHA-256, as nerdctl has it.
func IDOf(name string) string {
	sum := sha256.Sum256([]byte(name))
	return hex.EncodeToString(sum[:])
}

// HasLabel says whether the network has a label, written KEY, or KEY=VALUE for that value only.
func (n Network) HasLabel(label string) bool {
	key, want, exact := strings.Cut(label, "=")
	value, ok := n.Labels[key]
	return ok && (!exact || value == want)
}
